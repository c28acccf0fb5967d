"""Attention recorded once: the weights of one forced pass with the tokens that they stand between.

Knows no model and no drawing. Layers and heads stay ragged lists, so a pruned model fits as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from heedful.errors import HeedfulError

if TYPE_CHECKING:
    from heedful.decoding.translation import Translation

SCHEMA = "heedful-inspection"
VERSION = 1
KINDS = ("cross", "encoder", "decoder")
"""The three uses of attention (Section 3.2.3), the one between the two sentences first."""

Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Inspection:
    """One sentence, its output by one model, and every attention weight between their tokens.

    `attention` maps each of `KINDS` to one float32 array `[head, query, key]` per layer, or to None where the
    model has no attention of that kind; it is None itself for a model without any. Row t of `cross` and `decoder`
    belongs to the step that writes `tokens[t]`. Rows sum to one.
    """

    name: str
    """The model's."""
    source: str
    text: str
    score: float
    source_tokens: list[str]
    tokens: list[str]
    attention: Mapping[str, Sequence[Weights] | None] | None
    forced: bool = False
    """The target was given, not found by search."""

    def __post_init__(self) -> None:
        if not self.source_tokens or not self.tokens:
            raise HeedfulError("nothing to inspect: the sentence is empty; give one that has words")
        for kind in KINDS:
            queries, keys = self.axes(kind)
            for number, layer in enumerate(self.layers(kind), start=1):
                where = f"{kind} attention, layer {number}"
                if layer.dtype != np.float32 or layer.shape[1:] != (len(queries), len(keys)):
                    expected = f"float32 [heads, {len(queries)}, {len(keys)}]"
                    raise ValueError(f"{where} is {layer.dtype} {list(layer.shape)}, its tokens ask for {expected}")
                if not np.isfinite(layer).all():
                    raise HeedfulError(f"{where} of {self.name} is not finite; the model's weights are damaged")

    @classmethod
    def of(cls, translation: "Translation", *, name: str, forced: bool = False) -> Self:
        """Records a translation by the model of that name; `forced` where its target was given."""
        return cls(
            name=name,
            source=translation.source,
            text=translation.text,
            score=translation.score,
            source_tokens=list(translation.source_tokens),
            tokens=list(translation.tokens),
            attention=translation.attention,
            forced=forced,
        )

    @property
    def decoder_inputs(self) -> list[str]:
        """What the decoder reads at each step: the output shifted right, as in Figure 1."""
        return ["<s>", *self.tokens[:-1]]

    def layers(self, kind: str) -> Sequence[Weights]:
        """`[head, query, key]` for each layer; nothing where the model has no attention of that kind."""
        return (self.attention or {}).get(kind) or ()

    def kinds(self) -> list[str]:
        """The kinds of attention that this model has."""
        return [kind for kind in KINDS if self.layers(kind)]

    def axes(self, kind: str) -> tuple[list[str], list[str]]:
        """The tokens of the rows (queries: who looks) and of the columns (keys: what is looked at)."""
        if kind == "encoder":
            return self.source_tokens, self.source_tokens
        return self.tokens, self.source_tokens if kind == "cross" else self.decoder_inputs

    def mean(self, kind: str) -> Weights:
        """`[query, key]`, averaged over every head of every layer, each with equal weight."""
        mean: Weights = np.concatenate(self.layers(kind)).mean(axis=0, dtype=np.float64).astype(np.float32)
        return mean
