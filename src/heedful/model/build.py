"""From a configuration to a model: the one place that picks classes by name."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from heedful.errors import HeedfulError
from heedful.model.attention import (
    Additive,
    Attention,
    DotProduct,
    General,
    MultiHeadAttention,
    Normalise,
    Score,
)
from heedful.model.config import ModelConfig, RecurrentConfig, Sharing, TransformerConfig
from heedful.model.deterministic import DeterministicAttention, ParserTokens
from heedful.model.dropout import Dropout
from heedful.model.embedding import InputEmbedding, Projection, TokenEmbedding
from heedful.model.feed_forward import FeedForward
from heedful.model.masks import masked_scores, masked_softmax
from heedful.model.norm import BatchNorm, LayerNorm, NoNorm
from heedful.model.positions import LearnedPositions, NoPositions, RotaryPositions, SinusoidalPositions
from heedful.model.recurrent import RecurrentDecoder, RecurrentEncoder, RecurrentSeq2Seq
from heedful.model.restricted import RestrictedAttention
from heedful.model.seq2seq import Seq2Seq
from heedful.model.stacks import Decoder, DecoderLayer, Encoder, EncoderLayer, PostNorm, PreNorm, Residual
from heedful.model.transformer import Transformer

_NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer": LayerNorm,
    "batch": BatchNorm,
    "none": lambda _: NoNorm(),
}
_SCORES: dict[str, Callable[[int], Score]] = {
    "dot": lambda _: DotProduct(),
    "general": General,
    "additive": Additive,
}
_WEIGHTS: dict[str, Normalise] = {"softmax": masked_softmax, "raw": masked_scores}


def device_named(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises `HeedfulError` for a device that this machine does not have."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        float(torch.zeros((), device=name))
    except (RuntimeError, AssertionError) as error:
        raise HeedfulError(f"device {name} cannot be used here; give cpu, or cuda on a machine with a GPU") from error
    return torch.device(name)


def native_precision(device: torch.device) -> Literal["float32", "bfloat16"]:
    """bfloat16 where the device multiplies it in hardware, at least twice as fast as float32; else float32."""
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
        native = device.type == "cpu" and any(known.get(name) for name in ("avx512_bf16", "amx_bf16"))
    return "bfloat16" if native else "float32"


def build_model(
    config: ModelConfig, source_vocab: int, target_vocab: int, tokens: ParserTokens | None = None
) -> Seq2Seq[Any, Any]:
    """A model with fresh weights, drawn from torch's generator, in training mode.

    A parser with deterministic attention has to be told its `tokens`, unless weights are loaded, which know them.

    Raises HeedfulError where the numbers of the configuration do not fit together.
    """
    if isinstance(config, RecurrentConfig):
        return _recurrent(config, source_vocab, target_vocab)
    return _transformer(config, source_vocab, target_vocab, tokens)


def _embeddings(
    sharing: Sharing, source_vocab: int, target_vocab: int, d_embedding: int, d_model: int
) -> tuple[TokenEmbedding, TokenEmbedding, Projection]:
    """Source and target embedding and projection, one matrix where they share it (Section 3.4)."""
    if sharing == "all" and source_vocab != target_vocab:
        raise HeedfulError(
            f"share_embeddings all: the vocabularies differ in size ({source_vocab} and {target_vocab}); "
            "use a joint vocabulary or share_embeddings target"
        )
    if sharing != "none" and d_embedding != d_model:
        raise HeedfulError(
            f"share_embeddings {sharing}: the projection is d_model ({d_model}) wide, the embeddings "
            f"d_embedding ({d_embedding}); make them equal or use share_embeddings none"
        )
    target = TokenEmbedding(target_vocab, d_embedding)
    source = target if sharing == "all" else TokenEmbedding(source_vocab, d_embedding)
    projection = Projection(d_model, target_vocab)
    if sharing != "none":
        projection.weight = target.weight
    return source, target, projection


def _transformer(
    config: TransformerConfig, source_vocab: int, target_vocab: int, tokens: ParserTokens | None
) -> Transformer:
    d_model = config.d_model
    if d_model % config.heads and (config.d_k is None or config.d_v is None):
        raise HeedfulError(
            f"heads ({config.heads}) does not divide d_model ({d_model}); change one, or give d_k and d_v"
        )
    norm = partial(_NORMS[config.norm], d_model)
    final_norm = norm if config.norm_position == "pre" else NoNorm

    def residual() -> Residual:
        order = PreNorm if config.norm_position == "pre" else PostNorm
        return order(norm(), Dropout(config.dropout), config.skip)

    d_k, d_v = config.d_k or d_model // config.heads, config.d_v or d_model // config.heads
    sizes = (d_model, config.heads, d_k, d_v)
    if config.positions == "rotary" and d_k % 2:
        raise HeedfulError(f"positions rotary: d_k ({d_k}) is odd, and components are turned in pairs; make it even")
    if config.rotary_cross_attention and (config.positions != "rotary" or config.deterministic_attention == "none"):
        raise HeedfulError(
            "rotary_cross_attention: only positions rotary and deterministic attention say where a query stands; "
            "choose both, or switch it off"
        )
    rotary = RotaryPositions(d_k) if config.positions == "rotary" else None  # one table for all layers

    def cross_attention() -> MultiHeadAttention:
        return MultiHeadAttention(*sizes, config.attention_dropout, rotary if config.rotary_cross_attention else None)

    def self_attention() -> MultiHeadAttention:
        if config.neighbourhood is None:
            return MultiHeadAttention(*sizes, config.attention_dropout, rotary)
        return RestrictedAttention(*sizes, config.neighbourhood, config.attention_dropout, rotary)

    def feed_forward() -> FeedForward:
        return FeedForward(d_model, config.d_ff)

    def positions() -> nn.Module:
        if config.positions == "learned":
            return LearnedPositions(config.max_positions, d_model)
        return SinusoidalPositions(d_model) if config.positions == "sinusoidal" else NoPositions()

    source, target, projection = _embeddings(config.share_embeddings, source_vocab, target_vocab, d_model, d_model)
    encoder = [EncoderLayer(self_attention(), feed_forward(), residual) for _ in range(config.layers)]
    decoder = [
        DecoderLayer(self_attention(), cross_attention(), feed_forward(), residual)
        for _ in range(config.decoder_layers or config.layers)
    ]
    shown = None
    if config.deterministic_attention != "none":
        stack = config.deterministic_attention == "stack"
        shown = DeterministicAttention(d_model, source_vocab, target_vocab, stack, tokens)
    return Transformer(
        InputEmbedding(source, positions(), Dropout(config.dropout)),
        InputEmbedding(target, positions(), Dropout(config.dropout)),
        Encoder(encoder, final_norm()),
        Decoder(decoder, final_norm()),
        projection,
        shown,
    )


def _recurrent(config: RecurrentConfig, source_vocab: int, target_vocab: int) -> RecurrentSeq2Seq:
    d_model, d_embedding = config.d_model, config.d_embedding or config.d_model
    if config.bidirectional and d_model % 2:
        raise HeedfulError(
            f"d_model ({d_model}) is odd: the two directions of a bidirectional encoder have half of it each; "
            "make it even or bidirectional false"
        )
    if config.input_feeding and config.attention == "none":
        raise HeedfulError("input_feeding needs attention: choose dot, general or additive, or switch it off")
    source, target, projection = _embeddings(config.share_embeddings, source_vocab, target_vocab, d_embedding, d_model)
    attention = None
    if config.attention != "none":
        attention = Attention(_SCORES[config.attention](d_model), _WEIGHTS[config.attention_weights])

    def network(input_size: int, width: int, bidirectional: bool) -> nn.LSTM | nn.GRU:
        cell = nn.LSTM if config.cell == "lstm" else nn.GRU
        between = config.dropout if config.layers > 1 else 0.0
        return cell(
            input_size,
            width,
            num_layers=config.layers,
            batch_first=True,
            dropout=between,
            bidirectional=bidirectional,
        )

    width = d_model // 2 if config.bidirectional else d_model
    encoder = RecurrentEncoder(source, network(d_embedding, width, config.bidirectional), Dropout(config.dropout))
    feed = d_model if config.input_feeding else 0
    decoder = RecurrentDecoder(
        target, network(d_embedding + feed, d_model, False), attention, config.input_feeding, Dropout(config.dropout)
    )
    return RecurrentSeq2Seq(encoder, decoder, projection)
