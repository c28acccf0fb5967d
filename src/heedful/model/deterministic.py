"""Deterministic attention: a parser's decoder is shown the words at which it stands, and need not look for them.

A tree's tokens so far say how far the parser is: how many words have their leaves, and which brackets are open. So
attention to the next word is no matter of learning (Ma et al. 2017; the cursors of Liu, Zhu and Shi, AAAI 2018), nor
is that to the top of the stack (Stack-Transformer, Fernandez Astudillo et al. 2020). Here the encoder's output at these
words is projected and added to the decoder's input. Attention over all of the source stays, and may be told the place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from heedful.model.config import MOST_OPEN
from heedful.model.embedding import TokenEmbedding
from heedful.model.linear import Linear


@dataclass(frozen=True)
class ParserTokens:
    """What a parser's tokens are: of the source those that begin a word, EOS too; of the target brackets and leaves."""

    word_starts: Sequence[int]
    leaves: Sequence[int]
    opening: Sequence[int]
    closing: Sequence[int]
    in_order: bool
    """A bracket opens after its first child, not before it."""


_TABLES = {"word_starts": "source", "leaves": "target", "opening": "target", "closing": "target"}


@dataclass(frozen=True)
class ParserState:
    """Where each sequence's parser is. Place 0 of a stack stands for what is outside of all brackets."""

    read: Int[Tensor, " rows"]
    """Words that have their leaves: the number of the next one, counted from 0."""
    completed: Int[Tensor, " rows"]
    """First word of the leaf or bracket that was completed last."""
    depth: Int[Tensor, " rows"]
    """Brackets that are open; more than `MOST_OPEN` count as so many."""
    firsts: Int[Tensor, "rows stack"]
    """First word of each bracket that is open."""
    labels: Int[Tensor, "rows stack"]
    """Its opening token; 0 in place 0."""

    def shown(self) -> tuple[Tensor, ...]:
        """Four numbers of each row: the next word, and of the innermost open bracket first word, label and depth."""
        top = self.depth.unsqueeze(1)
        return self.read, *(stack.gather(1, top).squeeze(1) for stack in (self.firsts, self.labels)), self.depth

    def pick(self, rows: Int[Tensor, " picked"]) -> "ParserState":
        """The states of these rows."""
        return ParserState(*(getattr(self, each.name).index_select(0, rows) for each in fields(self)))


@dataclass(frozen=True)
class Words:
    """Of each sentence's words, and EOS behind them, what a decoder is told where the parser stands there.

    One place more than the source has tokens; those behind EOS are as EOS with EOS before it.
    """

    buffer: Float[Tensor, "sentences places d_model"]
    """Where the word comes next: projections of it and of the word before it."""
    stack: Float[Tensor, "sentences places d_model"] | None
    """Where the innermost open bracket begins with the word."""
    starts: Int[Tensor, "sentences places"]
    """The position at which the word begins."""

    def pick(self, sentences: Int[Tensor, " picked"]) -> "Words":
        """Those of these sentences."""
        return Words(
            self.buffer.index_select(0, sentences),
            None if self.stack is None else self.stack.index_select(0, sentences),
            self.starts.index_select(0, sentences),
        )


class Place(NamedTuple):
    """What a decoder is told of each place at which its parser stands."""

    shown: Float[Tensor, "sentences places d_model"]
    """Added to its input."""
    position: Int[Tensor, "sentences places"]
    """The source position at which the next word begins."""


class DeterministicAttention(nn.Module):
    """What it knows of the tokens is saved with the weights; made without, it has to load them."""

    word_starts: Bool[Tensor, " source_vocab"]
    leaves: Bool[Tensor, " target_vocab"]
    opening: Bool[Tensor, " target_vocab"]
    closing: Bool[Tensor, " target_vocab"]
    in_order: Bool[Tensor, ""]

    def __init__(
        self, d_model: int, source_vocab: int, target_vocab: int, stack: bool, tokens: ParserTokens | None
    ) -> None:
        """`stack`: the innermost open bracket is shown too, its first word, its label and the depth."""
        super().__init__()
        self.next_word = Linear(2 * d_model, d_model, bias=False)
        self.last_word = Linear(2 * d_model, d_model, bias=False)
        self.first_word = Linear(2 * d_model, d_model, bias=False) if stack else None
        self.labels = TokenEmbedding(target_vocab, d_model) if stack else None
        self.depths = TokenEmbedding(MOST_OPEN + 1, d_model) if stack else None
        for name, vocab in _TABLES.items():
            table = torch.zeros(source_vocab if vocab == "source" else target_vocab, dtype=torch.bool)
            if tokens is not None:
                table[list(getattr(tokens, name))] = True
            self.register_buffer(name, table)
        self.register_buffer("in_order", torch.tensor(tokens is not None and tokens.in_order))

    def words(
        self,
        source: Int[Tensor, "batch source"],
        mask: Bool[Tensor, "batch source"],
        hidden: Float[Tensor, "batch source d_model"],
    ) -> Words:
        """From the encoder's output at the first and at the last token of each word: its stem, its ending."""
        starts = self.word_starts[source] & mask
        last = (starts.sum(1, keepdim=True) - 1).clamp(min=0)
        # tokens that begin a word first, in their order; the n-th place is the n-th word's, or EOS's behind them
        order = (~starts).int().argsort(dim=1, stable=True)
        first = order.gather(1, torch.arange(source.size(1) + 2, device=source.device).minimum(last))
        ends = (first[:, :-1], first[:, :-1].maximum(first[:, 1:] - 1))
        # of each [batch, source + 1] the outputs there, side by side
        words = torch.cat([hidden.gather(1, end.unsqueeze(2).expand(-1, -1, hidden.size(2))) for end in ends], dim=2)
        before = torch.cat((torch.zeros_like(words[:, :1]), words[:, :-1]), dim=1)
        buffer = self.next_word(words) + self.last_word(before)
        return Words(buffer, None if self.first_word is None else self.first_word(words), first[:, :-1])

    def start(self, rows: int, device: torch.device | str | None = None) -> ParserState:
        """Before the first token; on the model's device unless another is given."""
        zeros = torch.zeros(rows, dtype=torch.int64, device=device or self.in_order.device)
        stack = zeros.unsqueeze(1).expand(-1, MOST_OPEN + 1)
        return ParserState(zeros, zeros, zeros, stack, stack)

    def advance(self, tokens: Int[Tensor, " rows"], state: ParserState) -> ParserState:
        """After one token more. Whatever else it is than a leaf or a bracket changes nothing."""
        return self._advance(tokens, *self._kinds(tokens), self.in_order, state)

    def _kinds(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.leaves[tokens], self.opening[tokens], self.closing[tokens]

    def _advance(
        self, tokens: Tensor, leaf: Tensor, opens: Tensor, closes: Tensor, in_order: Tensor, state: ParserState
    ) -> ParserState:
        innermost = state.firsts.gather(1, state.depth.unsqueeze(1)).squeeze(1)
        depth = (state.depth + opens.int() - closes.int()).clamp(0, MOST_OPEN)
        top, opened = depth.unsqueeze(1), opens.unsqueeze(1)
        first = state.completed.where(in_order, state.read).unsqueeze(1)
        return ParserState(
            read=state.read + leaf,
            completed=state.read.where(leaf, innermost.where(closes, state.completed)),
            depth=depth,
            firsts=state.firsts.scatter(1, top, first.where(opened, state.firsts.gather(1, top))),
            labels=state.labels.scatter(1, top, tokens.unsqueeze(1).where(opened, state.labels.gather(1, top))),
        )

    def place(self, state: ParserState, words: Words) -> Place:
        """Of each sentence's `rows / sentences` sequences."""
        # [rows] → [sentences, rows / sentences]
        return self._place(words, *(number.view(len(words.buffer), -1) for number in state.shown()))

    def forward(self, target: Int[Tensor, "batch target"], words: Words) -> Place:
        """Of every position of a known target.

        The parser's numbers come from the CPU: each step is a few tiny operations, which a GPU only waits for.
        """
        columns = [each.cpu().unbind(1) for each in (target, *self._kinds(target))]
        in_order = self.in_order.cpu()
        state, seen = self.start(len(target), "cpu"), []
        for tokens, leaf, opens, closes in zip(*columns, strict=True):
            state = self._advance(tokens, leaf, opens, closes, in_order, state)
            seen.append(state.shown())
        numbers = (torch.stack(each, dim=1).to(target.device) for each in zip(*seen, strict=True))
        return self._place(words, *numbers)

    def _place(
        self,
        words: Words,
        read: Int[Tensor, "sentences places"],
        first: Int[Tensor, "sentences places"],
        label: Int[Tensor, "sentences places"],
        depth: Int[Tensor, "sentences places"],
    ) -> Place:
        shown = _pick(words.buffer, read)
        if words.stack is not None and self.labels is not None and self.depths is not None:
            shown = shown + _pick(words.stack, first) + self.labels(label) + self.depths(depth)
        return Place(shown, words.starts.gather(1, read.clamp(max=words.starts.size(1) - 1)))


def _pick(
    words: Float[Tensor, "sentences words d_model"], number: Int[Tensor, "sentences places"]
) -> Float[Tensor, "sentences places d_model"]:
    number = number.clamp(max=words.size(1) - 1)
    return words.gather(1, number.unsqueeze(2).expand(-1, -1, words.size(2)))
