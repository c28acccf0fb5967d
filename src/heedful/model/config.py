"""What a model is built from. Imports no torch, so that `heedful train --help` answers at once."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Probability = Annotated[float, Field(ge=0.0, lt=1.0)]
Count = Annotated[int, Field(ge=1)]
Sharing = Literal["all", "target", "none"]

MOST_OPEN = 64
"""Brackets that a parser with deterministic attention tells apart by their depth."""

_strict = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, config=_strict)
class TransformerConfig:
    """The Transformer of Section 3; the defaults are the paper's `base` (Table 3)."""

    architecture: Literal["transformer"] = "transformer"
    """Encoder-decoder built from attention alone."""
    layers: Count = 6
    """N, the number of encoder layers, and of decoder layers unless decoder_layers says otherwise."""
    decoder_layers: Count | None = None
    """Number of decoder layers where it differs from the encoder's."""
    d_model: Count = 512
    """Width of embeddings and of every sublayer's output."""
    d_ff: Count = 2048
    """Inner width of the position-wise feed-forward network (Section 3.3)."""
    heads: Count = 8
    """h, attention heads per layer (Section 3.2.2)."""
    d_k: Count | None = None
    """Width of a head's queries and keys; d_model / heads unless given."""
    d_v: Count | None = None
    """Width of a head's values; d_model / heads unless given."""
    neighbourhood: Count | None = None
    """r of restricted self-attention (Section 4), the neighbours that a position sees; all positions unless given."""
    dropout: Probability = 0.1
    """P_drop on sublayer outputs and on embedding + position sums (Section 5.4)."""
    attention_dropout: Probability = 0.0
    """Dropout on attention weights; the paper has none."""
    positions: Literal["sinusoidal", "learned", "rotary", "none"] = "sinusoidal"
    """Positional encoding (Section 3.5); rotary: of queries and keys, relative (Su et al. 2021)."""
    max_positions: Count = 1024
    """Reach of learned positions, in tokens; every later position uses the last one learned."""
    norm: Literal["layer", "batch", "none"] = "layer"
    """Normalisation of each sublayer."""
    norm_position: Literal["post", "pre"] = "post"
    """Norm after the residual sum, as in the paper, or before each sublayer."""
    skip: bool = True
    """Skip (residual) connections around each sublayer."""
    deterministic_attention: Literal["none", "buffer", "stack"] = "none"
    """What a parser's decoder is shown of its place; buffer: the words around it; stack: the innermost bracket too."""
    rotary_cross_attention: bool = False
    """A parser's queries over the source are turned as if they stood at the next word, the keys where they are."""
    share_embeddings: Sharing = "all"
    """all: source, target and pre-softmax weights are one matrix (Section 3.4); target: the last two; none."""


@dataclass(frozen=True, config=_strict)
class RecurrentConfig:
    """RNN Seq2Seq, the lecture's first part, without attention or with it."""

    architecture: Literal["rnn"] = "rnn"
    """Recurrent encoder and decoder."""
    attention: Literal["none", "dot", "general", "additive"] = "none"
    """Score of AttentionWeight: dot (the lecture), Luong general, Bahdanau additive; none: fixed-length bottleneck."""
    attention_weights: Literal["softmax", "raw"] = "softmax"
    """What makes weights of the scores; raw: nothing does (the lecture says why not)."""
    cell: Literal["lstm", "gru"] = "lstm"
    """Recurrent cell."""
    layers: Count = 1
    """Number of recurrent layers, in the encoder and in the decoder."""
    d_model: Count = 256
    """Width of the hidden states; each direction of a bidirectional encoder has half of it."""
    d_embedding: Count | None = None
    """Width of the embeddings; d_model unless given."""
    bidirectional: bool = True
    """Encoder reads the source in both directions."""
    input_feeding: bool = False
    """The last attentional vector joins the decoder's next input (Luong et al. 2015, Section 3.3)."""
    dropout: Probability = 0.2
    """Dropout on embeddings, between layers and before the projection."""
    share_embeddings: Sharing = "none"
    """all: source, target and pre-softmax weights are one matrix; target: the last two; none."""


ModelConfig = Annotated[TransformerConfig | RecurrentConfig, Field(discriminator="architecture")]
