"""Hugging Face's `MarianMTModel`, pre-norm `M2M100`, with the shape and the weights of a heedful model."""

import itertools
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import M2M100Config, M2M100ForConditionalGeneration, MarianConfig, MarianMTModel

from benchmarks.peers.shape import BOS, EOS, PAD, Shape, weights_file

MAX_POSITIONS = 1024
Model = MarianMTModel | M2M100ForConditionalGeneration
_PLACES = {
    "self_attention": "self_attn",
    "self_attention_residual.norm": "self_attn_layer_norm",
    "cross_attention": "encoder_attn",
    "cross_attention_residual.norm": "encoder_attn_layer_norm",
    "feed_forward.inner": "fc1",
    "feed_forward.outer": "fc2",
    "feed_forward_residual.norm": "final_layer_norm",
}


def hugging_face(directory: Path, dropout: float | None = None) -> Model:
    """The model of a heedful directory: all embeddings tied, scaled by √d_model, in evaluation mode.

    Raises `ValueError` where it has rotary positions.
    """
    shape, weights = Shape.of(directory), load_file(weights_file(directory))
    if shape.rotary:
        raise ValueError("neither Marian nor M2M100 has rotary positions; train with --positions sinusoidal")
    kind, settings = (M2M100ForConditionalGeneration, M2M100Config) if shape.pre_norm else (MarianMTModel, MarianConfig)
    config = settings(
        vocab_size=len(weights["source_input.tokens.weight"]),
        max_position_embeddings=MAX_POSITIONS,
        encoder_layers=shape.layers,
        decoder_layers=shape.decoder_layers,
        d_model=shape.d_model,
        encoder_ffn_dim=shape.d_ff,
        decoder_ffn_dim=shape.d_ff,
        encoder_attention_heads=shape.heads,
        decoder_attention_heads=shape.heads,
        activation_function="relu",
        dropout=shape.dropout if dropout is None else dropout,
        scale_embedding=True,
        pad_token_id=PAD,
        bos_token_id=BOS,
        eos_token_id=EOS,
        decoder_start_token_id=BOS,
        forced_eos_token_id=None,
    )
    model = kind(config)
    _copy(model, _renamed(weights, shape))
    table = sinusoids(MAX_POSITIONS, shape.d_model)
    for side in (model.model.encoder, model.model.decoder):
        places = side.embed_positions
        if shape.pre_norm:  # position t stands at t + PAD + 1
            places.weights[PAD + 1 : PAD + 1 + MAX_POSITIONS] = table
        else:
            places.weight.data.copy_(table)
    return model.eval()


def sinusoids(positions: int, d_model: int) -> Tensor:
    """Section 3.5, sine and cosine interleaved; Hugging Face's own tables have all sines first."""
    angle = torch.arange(positions, dtype=torch.float64)[:, None] / 10_000.0 ** (
        torch.arange(0, d_model, 2, dtype=torch.float64) / d_model
    )
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1).float()


def _renamed(weights: dict[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    new = {"model.shared.weight": weights["source_input.tokens.weight"]}
    if shape.pre_norm:
        for side, leaf in itertools.product(("encoder", "decoder"), ("weight", "bias")):
            new[f"model.{side}.layer_norm.{leaf}"] = weights[f"{side}.final_norm.{leaf}"]
    for name, tensor in weights.items():
        side, _, rest = name.partition(".layers.")
        number, _, place = rest.partition(".")
        if not rest:
            continue
        ours, leaf = place.rsplit(".", 1)
        if ours.endswith(".output"):
            new[f"model.{side}.layers.{number}.{_PLACES[ours.removesuffix('.output')]}.out_proj.{leaf}"] = tensor
        elif ours.endswith("attention"):
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                new[f"model.{side}.layers.{number}.{_PLACES[ours]}.{letter}_proj.{leaf}"] = part
        else:
            new[f"model.{side}.layers.{number}.{_PLACES[ours]}.{leaf}"] = tensor
    return new


def _copy(model: Model, weights: dict[str, Tensor]) -> None:
    """Every parameter that is learned gets its value; raises `ValueError` where one is left out."""
    own = {name: x for name, x in model.named_parameters() if x.requires_grad}
    if missing := own.keys() - weights.keys():
        raise ValueError(f"no weights for {', '.join(sorted(missing))}")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
