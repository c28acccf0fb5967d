"""A batch without padding: its sentences in a row on either side (`model/packing.py`), made on the CPU for a GPU."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from heedful.data.batches import Batch
from heedful.data.tokenizer import PAD
from heedful.kernels.sentences import Ragged, Sentences
from heedful.model.packing import Packing

_NO_TARGET = -1
_SHORTEST = 16
"""To powers of two from it on the longest sentence is rounded up."""


class Shape(NamedTuple):
    """What is computed for a batch follows from it and from the numbers."""

    sentences: int
    source: int
    """Tokens of all sentences."""
    target: int
    longest_source: int
    """Tokens of the longest sentence, or more."""
    longest_target: int


@dataclass(frozen=True)
class PackedBatch:
    """Source and target of every sentence in a row each."""

    numbers: Tensor
    """[all] int64, what stands below one behind the other: a single copy takes it to a device."""
    shape: Shape

    @classmethod
    def of(cls, batch: Batch) -> Self:
        """The batch's real tokens."""
        source, target = (Packing.of(mask) for mask in (batch.source_mask, batch.target_mask))
        parts = [
            *(source.pack(batch.source), source.sentences.starts, source.sentences.positions),
            *(target.pack(batch.target_input), target.sentences.starts, target.sentences.positions),
            target.pack(batch.target_output),
        ]
        tokens = (len(each.places) for each in (source, target))
        longest = (each.sentences.longest for each in (source, target))
        return cls._joined(parts, Shape(len(batch.lines), *tokens, *longest))

    def fitted(self) -> Self:
        """Of one of few shapes: a sixteenth of the tokens is added at most, or 127, in sentences of which nothing is to
        be predicted; there are as many of these as it takes, and empty ones, for a round number."""
        rows, *tokens = self.shape[:3]
        more = [_rounded(count, 16, 128) - count for count in tokens]
        longest = [max(_SHORTEST, 1 << (length - 1).bit_length()) for length in self.shape[3:]]
        needed = rows + max(-(-count // length) for count, length in zip(more, longest, strict=True))
        added = _rounded(needed, 4, 16) - rows
        parts = list(self._parts())
        for side, (before, count, length) in enumerate(zip(tokens, more, longest, strict=True)):
            begin, places = 3 * side, torch.arange(count)
            ends = (torch.arange(1, added + 1) * length).clamp(max=count) + before
            new = places.new_full((count,), PAD), ends, places % length
            parts[begin : begin + 3] = [torch.cat(pair) for pair in zip(parts[begin : begin + 3], new, strict=True)]
        parts[6] = torch.cat((parts[6], parts[6].new_full((more[1],), _NO_TARGET)))
        whole = (before + count for before, count in zip(tokens, more, strict=True))
        return self._joined(parts, Shape(rows + added, *whole, *longest))

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device."""
        return replace(self, numbers=self.numbers.to(device, non_blocking=True))

    def pinned(self) -> Self:
        """In memory that a GPU reads by itself."""
        return replace(self, numbers=self.numbers.pin_memory())

    def twice(self) -> Self:
        """All pairs, then all of them again."""
        rows, *tokens = self.shape[:3]
        parts = [torch.cat((part, part)) for part in self._parts()]
        for side, count in enumerate(tokens):
            starts = self._parts()[3 * side + 1]
            parts[3 * side + 1] = torch.cat((starts[:-1], starts + count))
        shape = self.shape
        twice = shape._replace(sentences=2 * rows, source=2 * shape.source, target=2 * shape.target)
        return self._joined(parts, twice)

    @property
    def source(self) -> Tensor:
        """[1, source tokens], EOS included."""
        return self._parts()[0].unsqueeze(0)

    @property
    def target_input(self) -> Tensor:
        """[1, target tokens], BOS + tokens of every sentence."""
        return self._parts()[3].unsqueeze(0)

    @property
    def target_output(self) -> Tensor:
        """[target tokens], tokens + EOS of every sentence; below 0 where nothing is to be predicted."""
        return self._parts()[6]

    @property
    def sentences(self) -> Ragged:
        """Target and source."""
        _, source_starts, source_positions, _, target_starts, target_positions, _ = self._parts()
        return Ragged(
            Sentences(target_starts, target_positions.unsqueeze(0), self.shape.longest_target),
            Sentences(source_starts, source_positions.unsqueeze(0), self.shape.longest_source),
        )

    @classmethod
    def _joined(cls, parts: list[Tensor], shape: Shape) -> Self:
        return cls(torch.cat([part.flatten() for part in parts]), shape)

    def _parts(self) -> tuple[Tensor, ...]:
        rows, source, target = self.shape[:3]
        return torch.split(self.numbers, [source, rows + 1, source, target, rows + 1, target, target])


def _rounded(number: int, parts: int, least: int) -> int:
    """Up to the next multiple of the power of two of which it has between `parts` and 2 · `parts`, or of `least`."""
    unit = max(least, 1 << max(0, number.bit_length() - parts.bit_length()))
    return -(-number // unit) * unit
