"""Only trees come out: brackets match, none is empty, every word has its leaf, and the end comes when all is closed.

A filter like the others, so greedy search, beam search and sampling are constrained alike. It knows which tokens are
brackets and how many words a sentence has; what stands at a place it reads off the tokens so far.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

MOST_OPENED = 16
"""Brackets that open between two words at most; treebanks have up to 8 (CRAFT)."""
_LEAF, _OPEN, _CLOSE, _OTHER = range(4)
FREE = -1
"""In place of a leaf's token: any leaf."""


@dataclass(frozen=True)
class TreeTokens:
    """Which tokens of a vocabulary a tree is written with."""

    opening: tuple[int, ...]
    closing: tuple[int, ...]
    """Of each opening bracket its own closing one."""
    leaves: tuple[int, ...]
    vocab_size: int
    eos: int


@dataclass(frozen=True)
class _Place:
    """How far each sequence is."""

    begun: bool
    depth: Int[Tensor, " rows"]
    """Brackets that are open."""
    unused: Int[Tensor, " rows"]
    """Words that are still to come."""
    after: Int[Tensor, " rows"]
    """The last token's kind."""
    opened: Int[Tensor, " rows"]
    """Brackets that opened since the last word."""
    left: Int[Tensor, " rows"]
    """Tokens that may still come, EOS included."""


@dataclass(frozen=True)
class _Moves:
    """What may come next."""

    leaf: Bool[Tensor, " rows"]
    open: Bool[Tensor, " rows"]
    close: Bool[Tensor, " rows"]
    """Of the innermost bracket alone."""
    end: Bool[Tensor, " rows"]


def _top_down(place: _Place) -> _Moves:
    """A bracket opens where words are left, and closes once it holds something; the outermost one holds all words.

    A word, a closing bracket and EOS are owed anyway, so tokens can only become scarce by opening brackets.
    """
    words = place.unused > 0
    if not place.begun:
        return _Moves(leaf=torch.zeros_like(words), open=words, close=~words, end=~words)
    inside = place.depth > 0
    spare = place.left - (place.unused + place.depth + 1)
    return _Moves(
        leaf=words & inside,
        open=words & inside & (spare >= 2) & (place.opened < MOST_OPENED),
        close=inside & (place.after != _OPEN) & ((place.depth > 1) | ~words),
        end=~inside,
    )


def _in_order(place: _Place) -> _Moves:
    """A bracket opens after its first child, so one that is open holds something, and a whole may get a parent.

    Outside of all brackets stands one finished child, which needs a parent if it is a word or words are left.
    """
    words, inside = place.unused > 0, place.depth > 0
    whole = (place.after == _CLOSE) & ~inside & ~words
    orphan = ~inside & ~whole
    spare = place.left - (place.unused + place.depth + 1 + 2 * orphan)
    more = (spare >= 2) & (place.opened < MOST_OPENED)
    return _Moves(
        leaf=words & (inside if place.begun else ~inside),
        open=((place.after == _LEAF) | (place.after == _CLOSE)) & (orphan | more),
        close=inside & ((place.depth > 1) | ~words | more),
        end=whole,
    )


_MOVES: dict[str, Callable[[_Place], _Moves]] = {"top-down": _top_down, "in-order": _in_order}


class FormTree:
    """Every sequence is, once ended, one bracket over exactly its sentence's words, in at most so many tokens.

    `words` are the numbers of words, at least 1; a tree over n words needs n + 3 tokens, EOS included, so
    `max_lengths` are not below. `leaves`, where given, are the leaf token of each word; `FREE` stands for any. One
    that is given is as probable as all leaves together: which one comes was known before, that one comes was not.
    """

    def __init__(
        self,
        tokens: TreeTokens,
        order: Literal["top-down", "in-order"],
        words: Int[Tensor, " sentences"],
        max_lengths: Int[Tensor, " sentences"],
        leaves: Sequence[Sequence[int]] = (),
    ) -> None:
        if (max_lengths < words + 3).any() or (words < 1).any():
            raise ValueError("a tree has at least one word, and its words + 3 tokens")
        device = words.device
        self.eos, self.words, self.max_lengths, self._moves = tokens.eos, words, max_lengths, _MOVES[order]
        self._kinds = torch.full((tokens.vocab_size,), _OTHER, device=device)
        self._closing = torch.zeros(tokens.vocab_size, dtype=torch.int64, device=device)
        opening = torch.tensor(tokens.opening, device=device)
        self._closing[opening] = torch.tensor(tokens.closing, device=device)
        self._leaves = torch.tensor(tokens.leaves, device=device)
        for kind, some in ((_LEAF, tokens.leaves), (_OPEN, tokens.opening), (_CLOSE, tokens.closing)):
            self._kinds[list(some)] = kind
        # [what may come, vocab]: nothing, leaves, opening brackets, both
        self._barred = torch.full((4, tokens.vocab_size), -torch.inf, device=device)
        for may, kinds in ((1, (_LEAF,)), (2, (_OPEN,)), (3, (_LEAF, _OPEN))):
            for kind in kinds:
                self._barred[may, self._kinds == kind] = 0.0
        longest = max(map(len, leaves), default=0)
        padded = [[*row, *[FREE] * (longest - len(row) + 1)] for row in leaves]
        self._given = torch.tensor(padded, device=device) if leaves else None

    def __call__(
        self,
        log_probs: Float[Tensor, "rows vocab"],
        tokens: Int[Tensor, "rows length"],
        sentences: Int[Tensor, " rows"],
    ) -> Float[Tensor, "rows vocab"]:
        """The tokens with which it can still become a tree."""
        place, innermost = self._place(tokens, sentences)
        moves = self._moves(place)
        closing, leaf = self._closing[innermost].unsqueeze(1), moves.leaf
        single = (closing, moves.close), (torch.full_like(closing, self.eos), moves.end)
        kept = [(token, allowed, log_probs.gather(1, token)) for token, allowed in single]
        if self._given is not None:
            given = self._given[sentences, (self.words[sentences] - place.unused).clamp(max=self._given.size(1) - 1)]
            any_leaf = log_probs[:, self._leaves].logsumexp(1, keepdim=True)
            kept.append((given.clamp(min=0).unsqueeze(1), leaf & (given != FREE), any_leaf))
            leaf = leaf & (given == FREE)
        log_probs += self._barred[leaf + 2 * moves.open]
        for token, allowed, value in kept:
            log_probs.scatter_(1, token, value.where(allowed.unsqueeze(1), log_probs.gather(1, token)))
        return log_probs

    def _place(self, tokens: Int[Tensor, "rows length"], sentences: Int[Tensor, " rows"]) -> tuple[_Place, Tensor]:
        """And the innermost open bracket's token."""
        tokens = F.pad(tokens, (1, 0))  # what comes before everything is no leaf and no bracket
        kinds = self._kinds[tokens]
        kinds[:, 0] = _OTHER
        leaf, opens = kinds == _LEAF, kinds == _OPEN
        depths = (opens.int() - (kinds == _CLOSE).int()).cumsum(1)
        places = torch.arange(tokens.size(1), device=tokens.device)
        # the last bracket that opened to this depth is the innermost one that is open
        innermost = (places * (opens & (depths == depths[:, -1:]))).amax(1, keepdim=True)
        last_leaf = (places * leaf).amax(1, keepdim=True)
        place = _Place(
            begun=tokens.size(1) > 1,
            depth=depths[:, -1],
            unused=self.words[sentences] - leaf.sum(1),
            after=kinds[:, -1],
            opened=(opens & (places > last_leaf)).sum(1),
            left=self.max_lengths[sentences] - (tokens.size(1) - 1),
        )
        return place, tokens.gather(1, innermost).squeeze(1)
