"""Parameters, FLOPs and memory by formula, from a configuration alone: nothing is allocated. Imports no torch.

FLOPs are those of matrix products, two for each multiply-add, of real tokens: padding is no work. A product's
gradient is two more of its size, so training costs three times what the forward pass does.
"""

from dataclasses import dataclass

from heedful.model.config import MOST_OPEN, ModelConfig, RecurrentConfig, TransformerConfig
from heedful.model.neighbourhood import Neighbourhood

TRAINING_PASSES = 3
"""FLOPs of forward and backward pass over those of the forward pass."""
ADAM_BYTES = 16
"""A parameter in training: the weight, its gradient and two moments, in float32."""
_FULL, _HALF = 4, 2
"""Bytes of float32 and bfloat16."""


@dataclass(frozen=True)
class Count:
    """A quantity by part of the model; a matrix that is shared counts as an embedding."""

    embeddings: int
    encoder: int
    decoder: int
    projection: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.embeddings + self.encoder + self.decoder + self.projection


def parameters(config: ModelConfig, source_vocab: int, target_vocab: int) -> Count:
    """Trainable numbers of `build_model(config, source_vocab, target_vocab)`."""
    d_model = config.d_model
    width = (config.d_embedding or d_model) if isinstance(config, RecurrentConfig) else d_model
    embeddings = (target_vocab if config.share_embeddings == "all" else source_vocab + target_vocab) * width
    projection = target_vocab * d_model if config.share_embeddings == "none" else 0
    if isinstance(config, RecurrentConfig):
        return Count(embeddings, *_recurrent_parameters(config), projection)
    if config.positions == "learned":
        embeddings += 2 * config.max_positions * d_model
    norm = 2 * d_model if config.norm != "none" else 0
    final = norm if config.norm_position == "pre" else 0
    heads = _heads(config)
    attention = d_model * heads.all + heads.all + heads.value * d_model + d_model
    feed_forward = 2 * d_model * config.d_ff + config.d_ff + d_model
    encoder = config.layers * (attention + feed_forward + 2 * norm) + final
    decoder = _decoder_layers(config) * (2 * attention + feed_forward + 3 * norm) + final
    decoder += _shown(config) * d_model**2
    if config.deterministic_attention == "stack":
        decoder += (target_vocab + MOST_OPEN + 1) * d_model
    return Count(embeddings, encoder, decoder, projection)


def forward_flops(config: ModelConfig, target_vocab: int, source: int, target: int) -> Count:
    """Of one pair of so many tokens, EOS included, under teacher forcing. Self-attention counts every pair of
    positions, later ones too, as fused kernels and FLOP counters do; restricted, those of its blocks.
    """
    d_model = config.d_model
    projection = 2 * target * d_model * target_vocab
    if isinstance(config, RecurrentConfig):
        return Count(0, *_recurrent_flops(config, source, target), projection)
    heads = _heads(config)
    meeting = heads.key + heads.value  # of a query with one key: its score, and its value's share
    feed_forward = 2 * d_model * config.d_ff
    projections = d_model * heads.all + heads.value * d_model
    around, earlier = _seen(config, source, target)
    encoder = source * (projections + feed_forward) + around.pairs(source) * meeting
    own = target * projections + earlier.pairs(target) * meeting
    memory = source * d_model * meeting
    shown = (source + 1) * _shown(config) * d_model**2
    cross = target * (d_model * heads.key + source * meeting + heads.value * d_model)
    decoder = own + memory + cross + target * feed_forward
    return Count(0, 2 * config.layers * encoder, 2 * (_decoder_layers(config) * decoder + shown), projection)


def training_flops(config: ModelConfig, target_vocab: int, source: int, target: int) -> int:
    """Forward and backward pass of one pair; an optimiser's work does not count."""
    return TRAINING_PASSES * forward_flops(config, target_vocab, source, target).total


def activation_bytes(
    config: ModelConfig, source: int, target: int, precision: str = "float32", fused: bool = True
) -> int:
    """What one pair of so many tokens holds between the forward and the backward pass, to about a fifth.

    Operands of products, and what norms and dropout remember, all in bfloat16 where that is the precision. Where
    kernels are not `fused`, attention keeps its weights, which it does too where there is dropout on them, and
    residual connections keep their masks. The projection's part is in chunks and small.
    """
    width = _HALF if precision == "bfloat16" else _FULL
    d_model = config.d_model
    dropped = d_model if config.dropout else 0
    if isinstance(config, RecurrentConfig):
        return _FULL * _recurrent_activations(config, source, target, dropped)
    heads = _heads(config)
    around = d_model if config.norm != "none" else 0  # of a sublayer: its norm's input, its dropout mask
    around += 0 if fused else dropped
    # for each key: softmax, mask and their product, or the softmax alone
    weights = config.heads * (3 if config.attention_dropout else int(not fused))
    # its input, and its output before and after the heads are joined; a kernel writes those of all positions joined
    attention = d_model + heads.value * (1 if fused and not config.neighbourhood else 2)
    feed_forward = d_model + config.d_ff
    centred, causal = _seen(config, source, target)
    meeting = heads.key + heads.value
    encoder = source * (attention + heads.key + feed_forward + 2 * around)
    encoder += centred.operands(source) * meeting + centred.pairs(source) * weights
    own = target * (attention + heads.key) + causal.operands(target) * meeting + causal.pairs(target) * weights
    cross = attention + heads.key + weights * source
    memory = source * meeting
    if fused and config.positions == "rotary" and not config.neighbourhood:
        # values keep what stands beside them: keys and queries before they were turned
        encoder, own = encoder + source * 2 * heads.key, own + target * 2 * heads.key
        memory += source * heads.key * config.rotary_cross_attention
    decoder = own + target * (cross + feed_forward + 3 * around)
    ends = (source + 2 * target) * (dropped + d_model)
    if config.deterministic_attention != "none":
        ends += 4 * (source + 1) * d_model  # both ends of every word, and of the one before it
    return width * (config.layers * encoder + _decoder_layers(config) * (decoder + memory) + ends)


@dataclass(frozen=True)
class _Heads:
    """Widths of all heads' queries or keys, and of all heads' values."""

    key: int
    value: int

    @property
    def all(self) -> int:
        """Of queries, keys and values side by side."""
        return 2 * self.key + self.value


def _heads(config: TransformerConfig) -> _Heads:
    share = config.d_model // config.heads
    return _Heads(config.heads * (config.d_k or share), config.heads * (config.d_v or share))


def _seen(config: TransformerConfig, source: int, target: int) -> tuple[Neighbourhood, Neighbourhood]:
    """Where self-attention looks in the encoder and in the decoder; unrestricted, the neighbourhood is everything."""
    r = config.neighbourhood
    return Neighbourhood.centred(r or 2 * source), Neighbourhood.causal(r or target)


def _decoder_layers(config: TransformerConfig) -> int:
    return config.decoder_layers or config.layers


def _shown(config: TransformerConfig) -> int:
    """Of deterministic attention, projections of both ends of the next word, the one before, a bracket's first."""
    return {"none": 0, "buffer": 4, "stack": 6}[config.deterministic_attention]


def _cells(config: RecurrentConfig) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(input, width) of every recurrent layer and direction of the encoder and of the decoder."""
    d_model, first = config.d_model, config.d_embedding or config.d_model
    directions = 2 if config.bidirectional else 1
    inputs = [first, *[d_model] * (config.layers - 1)]
    encoder = [(size, d_model // directions) for size in inputs for _ in range(directions)]
    feed = d_model if config.input_feeding else 0
    return encoder, [(size + (feed if number == 0 else 0), d_model) for number, size in enumerate(inputs)]


def _gates(config: RecurrentConfig) -> int:
    return 4 if config.cell == "lstm" else 3


def _recurrent_parameters(config: RecurrentConfig) -> tuple[int, int]:
    # torch's cells have two biases
    encoder, decoder = (
        sum(_gates(config) * width * (size + width + 2) for size, width in cells) for cells in _cells(config)
    )
    d_model = config.d_model
    score = {"none": 0, "dot": 0, "general": d_model**2, "additive": 2 * d_model**2 + d_model}[config.attention]
    join = 2 * d_model**2 if config.attention != "none" else 0
    return encoder, decoder + score + join


def _recurrent_flops(config: RecurrentConfig, source: int, target: int) -> tuple[int, int]:
    encoder, decoder = (
        2 * tokens * sum(_gates(config) * width * (size + width) for size, width in cells)
        for tokens, cells in zip((source, target), _cells(config), strict=True)
    )
    d_model = config.d_model
    maps = {"none": 0, "dot": 0, "general": target, "additive": source + target}[config.attention]
    meetings = source * target if config.attention != "none" else 0
    join = 2 * target if config.attention != "none" else 0
    # the score and the weighted sum are a product of width d_model for each meeting
    return encoder, decoder + 2 * d_model * ((maps + join) * d_model + 2 * meetings)


def _recurrent_activations(config: RecurrentConfig, source: int, target: int, dropped: int) -> int:
    encoder, decoder = (
        # input, gates, cell and hidden state before and after
        tokens * sum(size + (_gates(config) + 3) * width for size, width in cells)
        for tokens, cells in zip((source, target), _cells(config), strict=True)
    )
    d_model = config.d_model
    weights = 2 * source * target if config.attention != "none" else 0
    if config.attention == "additive":
        weights += source * target * d_model
    context = 4 * target * d_model if config.attention != "none" else 0
    return encoder + decoder + weights + context + (source + 2 * target) * (d_model + dropped)
