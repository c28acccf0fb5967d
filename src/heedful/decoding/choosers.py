"""How a step picks the next tokens: the best of all continuations (greedy search and beam search), or a draw."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """Continuations of each sentence's sequences by one token, at least as many as it has sequences."""

    parents: Int[Tensor, "sentences candidates"]
    """Which of the sentence's sequences it continues."""
    tokens: Int[Tensor, "sentences candidates"]
    log_probs: Float[Tensor, "sentences candidates"]
    """Of the token."""
    totals: Float[Tensor, "sentences candidates"]
    """Of the whole sequence; minus infinity where there is no such continuation."""


@runtime_checkable
class Chooser(Protocol):
    """Carries `width` sequences for each sentence."""

    width: int

    def start(self, sentences: int) -> Float[Tensor, "sentences width"]:
        """Log-probabilities of the empty sequences; minus infinity where a place is not in use yet."""
        ...

    def choose(
        self,
        log_probs: Float[Tensor, "sentences width vocab"],
        totals: Float[Tensor, "sentences width"],
        sentences: Int[Tensor, " sentences"],
        position: int,
    ) -> Candidates:
        """The continuations to consider; EOS ends a sequence that is among the first `width`."""
        ...

    def enough(
        self,
        ended: Int[Tensor, " sentences"],
        worst_kept: Float[Tensor, " sentences"],
        best_possible: Float[Tensor, " sentences"],
    ) -> Bool[Tensor, " sentences"]:
        """Where a sentence needs no more steps.

        `ended` hypotheses it has by now; the worst of the n best has the score `worst_kept` (minus infinity
        while they are fewer), and no sequence still open can reach more than `best_possible`.
        """
        ...


class BeamSearch:
    """The best continuations of all; with a width of 1, greedy search.

    A sentence is done when `width` hypotheses have ended, or when no open one can still do better than those kept.
    """

    def __init__(self, width: int) -> None:
        self.width = width

    def start(self, sentences: int) -> Float[Tensor, "sentences width"]:
        """All places are the same at first, so only one is in use."""
        totals = torch.full((sentences, self.width), -torch.inf)
        totals[:, 0] = 0.0
        return totals

    def choose(
        self,
        log_probs: Float[Tensor, "sentences width vocab"],
        totals: Float[Tensor, "sentences width"],
        sentences: Int[Tensor, " sentences"],
        position: int,
    ) -> Candidates:
        """The best first; of equal ones that of the better parent, then that of the lower token.

        Among 2 * width there are at least `width` that do not end, since a sequence has one EOS. Greedy search
        needs one: it stops where that ends.
        """
        count = 2 * self.width if self.width > 1 else 1
        # [sentences, width, vocab] → [sentences * width, count] → [sentences, width * count]
        values, tokens = (x.reshape(len(totals), -1) for x in most_likely(log_probs.flatten(0, 1), count))
        each = values.size(1) // self.width
        sums, order = (values + totals.repeat_interleave(each, dim=1)).sort(dim=1, descending=True, stable=True)
        order = order[:, :count]
        return Candidates(order // each, tokens.gather(1, order), values.gather(1, order), sums[:, :count])

    def enough(
        self,
        ended: Int[Tensor, " sentences"],
        worst_kept: Float[Tensor, " sentences"],
        best_possible: Float[Tensor, " sentences"],
    ) -> Bool[Tensor, " sentences"]:
        """The second condition changes no result, it only saves steps."""
        return (ended >= self.width) | (best_possible <= worst_kept)


class Sampling:
    """Draws every token from softmax(log p / temperature), among the `top_k` most probable, and of these among
    the fewest that together have a probability of `top_p` (Holtzman et al. 2020, Section 3.1).

    `uniforms` are the draws, in [0, 1): one for each sentence, sequence and position, so that a sentence's
    sample does not depend on its batch.
    """

    def __init__(
        self,
        uniforms: Float[Tensor, "all_sentences width positions"],
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
    ) -> None:
        self.width = uniforms.size(1)
        self.uniforms, self.temperature, self.top_k, self.top_p = uniforms, temperature, top_k, top_p

    def start(self, sentences: int) -> Float[Tensor, "sentences width"]:
        """Every place is a sample of its own."""
        return torch.zeros(sentences, self.width)

    def choose(
        self,
        log_probs: Float[Tensor, "sentences width vocab"],
        totals: Float[Tensor, "sentences width"],
        sentences: Int[Tensor, " sentences"],
        position: int,
    ) -> Candidates:
        """One continuation of each sequence, by the inverse of the cumulative distribution."""
        ranked, tokens = log_probs.sort(dim=-1, descending=True, stable=True)
        ranked, tokens = ranked[..., : self.top_k], tokens[..., : self.top_k]
        probabilities = (ranked.double() / self.temperature).softmax(-1)
        if self.top_p is not None:
            before = probabilities.cumsum(-1) - probabilities
            probabilities = probabilities.where(before < self.top_p, 0.0)
        cumulative = probabilities.cumsum(-1)
        draw = self.uniforms.to(cumulative.device)[sentences, :, position].unsqueeze(-1)
        # The first place whose cumulative probability exceeds the draw; rounding may leave none.
        place = (cumulative <= draw * cumulative[..., -1:]).sum(-1, keepdim=True).clamp(max=ranked.size(-1) - 1)
        drawn = log_probs.gather(-1, tokens.gather(-1, place)).squeeze(-1)
        parents = torch.arange(self.width, device=totals.device).expand_as(totals)
        return Candidates(parents, tokens.gather(-1, place).squeeze(-1), drawn, totals + drawn)

    def enough(
        self,
        ended: Int[Tensor, " sentences"],
        worst_kept: Float[Tensor, " sentences"],
        best_possible: Float[Tensor, " sentences"],
    ) -> Bool[Tensor, " sentences"]:
        """Never before every sample has ended: to stop at good ones would not be sampling."""
        return torch.zeros_like(ended, dtype=torch.bool)


def draw_uniforms(
    seed: int, sentences: Sequence[int], width: int, positions: int
) -> Float[Tensor, "n width positions"]:
    """Draws for `Sampling`, each a pure function of the seed, the sentence's number, the sample's and the position."""
    draws = [
        [np.random.default_rng((seed, sentence, sample)).random(positions) for sample in range(width)]
        for sentence in sentences
    ]
    return torch.from_numpy(np.array(draws))


def most_likely(
    log_probs: Float[Tensor, "rows vocab"], count: int
) -> tuple[Float[Tensor, "rows count"], Int[Tensor, "rows count"]]:
    """The `count` highest of each row (all, if there are fewer) and their tokens, equal ones by token."""
    if count == 1:
        best = log_probs.max(dim=1, keepdim=True)  # the first of equal ones
        return best.values, best.indices
    if count >= log_probs.size(1):
        ranked = log_probs.sort(dim=1, descending=True, stable=True)
        return ranked.values, ranked.indices
    values, tokens = log_probs.topk(count + 1)
    # Of equal values at the border, topk takes any: there the lowest tokens have to be found.
    border = values[:, count]
    [tied] = torch.where((values[:, count - 1] == border) & (border > -torch.inf))
    if len(tied):
        full = log_probs[tied].sort(dim=1, descending=True, stable=True)
        values[tied], tokens[tied] = full.values[:, : count + 1], full.indices[:, : count + 1]
    tokens, order = tokens[:, :count].sort(dim=1)
    values, order = values.gather(1, order).sort(dim=1, descending=True, stable=True)
    return values, tokens.gather(1, order)
