"""The one protocol that all three generations speak: encode, decode with a teacher, step with a state.

It knows no recurrence and no attention: trainer, search and inspector use nothing but this.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from heedful.model.flat import FlatTransformer


@dataclass(frozen=True)
class AttentionRecord:
    """Attention weights of one forced pass, a tensor per layer; None for a kind that the model does not have.

    Shapes: encoder `[batch, heads, source, source]`, decoder `[batch, heads, target, target]`,
    cross `[batch, heads, target, source]`. Rows sum to one, but where weights are raw scores; padding
    has weight zero.
    """

    encoder: Sequence[Tensor] | None
    decoder: Sequence[Tensor] | None
    cross: Sequence[Tensor] | None


M = TypeVar("M")
S = TypeVar("S", bound="State")


@runtime_checkable
class State(Protocol):
    """What a decoder remembers between two steps, for `rows = sentences * beam` sequences, sentence by sentence."""

    def reorder(self: S, rows: Int[Tensor, " rows"]) -> S:
        """Sequence i continues sequence `rows[i]`, one of the same sentence's."""
        ...

    def select(self: S, sentences: Int[Tensor, " kept"]) -> S:
        """Keeps these sentences, with all their sequences: finished ones leave the batch."""
        ...


class Seq2Seq(ABC, nn.Module, Generic[M, S]):
    """A conditional language model p(target | source). M is its memory of the source, S its decoding state."""

    projection: nn.Linear
    """`project` as a module, for a loss that is fused with it."""

    @abstractmethod
    def encode(self, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"]) -> M:
        """Reads the source, EOS included; the mask is True on real tokens."""

    @abstractmethod
    def decode(
        self,
        memory: M,
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target d_model"]:
        """Teacher forcing: the hidden state before the projection at every position of BOS + target."""

    @abstractmethod
    def start(self, memory: M, beam: int = 1) -> S:
        """The state before the first step, for `beam` sequences a sentence."""

    @abstractmethod
    def step(self, tokens: Int[Tensor, " rows"], state: S) -> tuple[Float[Tensor, "rows vocab"], S]:
        """One token further: logits of the next one, and the new state."""

    @abstractmethod
    def attention(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> AttentionRecord:
        """Every attention weight of a forced pass over BOS + target; the same computation as `decode`."""

    def project(self, hidden: Float[Tensor, "*positions d_model"]) -> Float[Tensor, "*positions vocab"]:
        """Logits: the linear map before the softmax (Section 3.4)."""
        logits: Tensor = self.projection(hidden)
        return logits

    def forward(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target d_model"]:
        """`decode(encode(source), target)`; still to be projected."""
        return self.decode(self.encode(source, source_mask), target, target_mask)

    def real_states(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
        places: Int[Tensor, " tokens"],
    ) -> Float[Tensor, "tokens d_model"]:
        """`forward`'s states at the target's real tokens, whose places in batch × target are given."""
        states: Tensor = self(source, source_mask, target, target_mask)
        return states.flatten(0, 1).index_select(0, places)

    def flat(self) -> FlatTransformer | None:
        """The model for an engine of another make; None where there is none for it."""
        return None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device
