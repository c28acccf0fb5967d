"""What may come next: a filter sets the log-probability of every token that may not to minus infinity.

What it leaves keeps its log-probability as the model gave it, but for a leaf that is known (`FormTree`).
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

_NOTHING_FORCED = -1


@runtime_checkable
class Filter(Protocol):
    """Called once a step, for every sequence of the batch."""

    def __call__(
        self,
        log_probs: Float[Tensor, "rows vocab"],
        tokens: Int[Tensor, "rows length"],
        sentences: Int[Tensor, " rows"],
    ) -> Float[Tensor, "rows vocab"]:
        """The log-probabilities that remain; it may write into those it is given.

        `tokens` are the sequences so far, without BOS; `sentences` says whose they are, numbered as the search
        was given them.
        """
        ...


class Demands(Protocol):
    """What the targets of some texts have to be, whatever a model says of them."""

    def shortest(self, text: int) -> int:
        """Tokens that this text's target needs at least, EOS included."""
        ...

    def filter(self, texts: Sequence[int], max_lengths: Int[Tensor, " texts"]) -> Filter:
        """For a batch of them, in whose search `sentences` are numbered in this order."""
        ...


class Ban:
    """Some tokens never come."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = torch.tensor(list(tokens))

    def __call__(
        self,
        log_probs: Float[Tensor, "rows vocab"],
        tokens: Int[Tensor, "rows length"],
        sentences: Int[Tensor, " rows"],
    ) -> Float[Tensor, "rows vocab"]:
        """Minus infinity for each of them."""
        return log_probs.index_fill_(1, self.tokens.to(log_probs.device), -torch.inf)


class BeginWith:
    """Every sequence begins with its sentence's prefix, which may be empty."""

    def __init__(self, prefixes: Sequence[Sequence[int]]) -> None:
        self.longest = max(map(len, prefixes), default=0)
        rows = [[*prefix, *[_NOTHING_FORCED] * (self.longest - len(prefix))] for prefix in prefixes]
        self.prefixes = torch.tensor(rows, dtype=torch.int64)

    def __call__(
        self,
        log_probs: Float[Tensor, "rows vocab"],
        tokens: Int[Tensor, "rows length"],
        sentences: Int[Tensor, " rows"],
    ) -> Float[Tensor, "rows vocab"]:
        """Only the prefix's next token, where there is one."""
        position = tokens.size(1)
        if position >= self.longest:
            return log_probs
        forced = self.prefixes.to(log_probs.device)[sentences, position]
        [rows] = torch.where(forced != _NOTHING_FORCED)
        return _leave_only(log_probs, rows, forced[rows])


class EndBy:
    """A sequence has at most its sentence's number of tokens, and the last of so many is EOS."""

    def __init__(self, max_lengths: Int[Tensor, " sentences"], eos: int) -> None:
        self.max_lengths, self.eos = max_lengths, eos
        self.shortest = int(max_lengths.min())

    def __call__(
        self,
        log_probs: Float[Tensor, "rows vocab"],
        tokens: Int[Tensor, "rows length"],
        sentences: Int[Tensor, " rows"],
    ) -> Float[Tensor, "rows vocab"]:
        """Only EOS, where the next token is the last one."""
        length = tokens.size(1) + 1
        if length < self.shortest:
            return log_probs
        [rows] = torch.where(self.max_lengths.to(log_probs.device)[sentences] <= length)
        return _leave_only(log_probs, rows, torch.full_like(rows, self.eos))


def _leave_only(
    log_probs: Float[Tensor, "rows vocab"], rows: Int[Tensor, " some"], tokens: Int[Tensor, " some"]
) -> Float[Tensor, "rows vocab"]:
    left = log_probs[rows, tokens]
    log_probs[rows] = -torch.inf
    log_probs[rows, tokens] = left
    return log_probs
