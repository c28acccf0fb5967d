"""Tokens to batches: a token budget on both sides, alike lengths together, in an order made by seed and epoch."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus
from heedful.data.encoded import BothDirections, EncodedCorpus, Rows, Tokens, encode
from heedful.data.tokenizer import BOS, EOS, PAD, Tokenizers
from heedful.errors import HeedfulError

logger = logging.getLogger("heedful")

Indices = NDArray[np.int64]

_LENGTH_NOISE = 0.05
"""Lengths are taken up to this share too long when batches are composed, so that neighbours change by epoch."""
_NAMED_LINES = 20
_BY_PAIR = ("source", "source_mask", "target_input", "target_output", "target_mask")


@dataclass(frozen=True)
class Batch:
    """Sentence pairs padded to the longest of each side. Masks are True on real tokens."""

    source: Tensor
    """[batch, source] int64, EOS last."""
    source_mask: Tensor
    """[batch, source] bool."""
    target_input: Tensor
    """[batch, target] int64, BOS + tokens: what the decoder reads."""
    target_output: Tensor
    """[batch, target] int64, tokens + EOS: what it shall predict."""
    target_mask: Tensor
    """[batch, target] bool."""
    target_places: Tensor
    """[real target tokens] int64, where they stand in batch × target: to find them on a GPU is to wait for it."""
    lines: list[int]
    """Index of each pair in its corpus, for messages."""

    @property
    def by_pair(self) -> tuple[Tensor, ...]:
        """The tensors that have a row for each pair."""
        return tuple(getattr(self, name) for name in _BY_PAIR)

    @property
    def source_tokens(self) -> int:
        """Number of real source tokens, EOS included."""
        return int(self.source_mask.sum())

    @property
    def target_tokens(self) -> int:
        """Number of real target tokens, EOS included."""
        return len(self.target_places)

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device."""
        moved = self._each(lambda tensor: tensor.to(device, non_blocking=True), self.lines)
        return replace(moved, target_places=self.target_places.to(device, non_blocking=True))

    def twice(self) -> Self:
        """All pairs, then all of them again."""
        places = torch.cat((self.target_places, self.target_places + self.target_mask.numel()))
        return replace(self._each(lambda tensor: torch.cat((tensor, tensor)), self.lines * 2), target_places=places)

    def rows(self, chosen: slice | Sequence[int] | Tensor) -> Self:
        """Some of the pairs, padded as before."""
        places = list(range(len(self.lines)))[chosen] if isinstance(chosen, slice) else [int(row) for row in chosen]
        picked = self._each(lambda tensor: tensor[places], [self.lines[row] for row in places])
        return replace(picked, target_places=real_places(picked.target_mask))

    def cut(self, tokens: int | None) -> list[Self]:
        """The same pairs in parts of at most so many tokens on either side, padding included; None: in one."""
        if tokens is None:
            return [self]
        size = max(1, tokens // max(self.source.size(1), self.target_input.size(1)))
        return [self.rows(slice(start, start + size)) for start in range(0, len(self.lines), size)]

    def _each(self, change: Callable[[Tensor], Tensor], lines: list[int]) -> Self:
        return replace(self, lines=lines, **dict(zip(_BY_PAIR, map(change, self.by_pair), strict=True)))


def collate_pairs(sources: Sequence[Tokens], targets: Sequence[Tokens], lines: Sequence[int] | None = None) -> Batch:
    """Pairs of token sequences, without BOS and EOS as `Tokenizer.encode` gives them, as one batch."""
    return _batch(_padded(sources), _padded(targets), list(range(len(sources)) if lines is None else lines))


def _batch(sources: Rows, targets: Rows, lines: list[int]) -> Batch:
    (source, source_mask), (output, target_mask) = sources, targets
    given = np.full_like(output, PAD)
    given[:, 0] = BOS
    # position t reads what position t - 1 shall predict; nothing is read after EOS
    given[:, 1:][target_mask[:, 1:]] = output[:, :-1][target_mask[:, 1:]]
    return Batch(
        source=torch.from_numpy(source),
        source_mask=torch.from_numpy(source_mask),
        target_input=torch.from_numpy(given),
        target_output=torch.from_numpy(output),
        target_mask=torch.from_numpy(target_mask),
        target_places=real_places(torch.from_numpy(target_mask)),
        lines=lines,
    )


def epoch_batches(
    source_lengths: NDArray[np.integer[Any]],
    target_lengths: NDArray[np.integer[Any]],
    batch_tokens: int,
    seed: int,
    epoch: int,
    ranges: Sequence[tuple[int, int]] | None = None,
    weights: Sequence[float] | None = None,
) -> list[Indices]:
    """Indices of each batch of an epoch, a pure function of the arguments.

    Lengths are in tokens. In every batch, sentences × longest ≤ `batch_tokens` on both sides; a pair longer
    than that is a batch of its own. With `weights`, one for each of the `ranges`, a pair is visited `weight`
    times an epoch: its whole part always, the rest by a draw, which can leave nothing of a tiny corpus.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    visits = _visits(len(source_lengths), ranges, weights, random)
    if not len(visits):
        return []
    source = source_lengths[visits].astype(np.int64)
    target = target_lengths[visits].astype(np.int64)
    longer = np.maximum(source, target)
    order = _alike_together(source, target, longer, batch_tokens, random)
    batches = [visits[part] for part in _cut(order, longer[order], batch_tokens)]
    return [batches[number] for number in np.argsort(random.random(len(batches)), kind="stable")]


class TrainingData:
    """The pairs that a model is trained on, batch by batch; each epoch a pure function of (seed, epoch)."""

    def __init__(
        self,
        corpora: Sequence[Corpus],
        weights: Sequence[float],
        tokenizers: Tokenizers,
        config: DataConfig,
        seed: int,
        directory: Path,
    ) -> None:
        if len(weights) != len(corpora) or min(weights) < 0 or not any(weights):
            raise HeedfulError(f"{len(weights)} training weights for {len(corpora)} corpora; give one each, above 0")
        self._corpora, self._weights, self._tokenizers = list(corpora), list(weights), tokenizers
        self._config, self._seed, self._directory = config, seed, directory
        self._plain = encode(corpora, tokenizers, config, directory)
        self._sampled: dict[int, EncodedCorpus | BothDirections] = {}
        self._both = BothDirections(self._plain) if config.both_directions else None
        self._epochs_both = 0
        if self._both:
            batches = max(1, len(self._composed(self._both, 0)))
            self._epochs_both = round(config.both_directions / batches)
            if not self._epochs_both:
                self._both = None
                logger.warning(
                    f"no epoch is in both directions, as one would have {batches:,} batches; "
                    f"--both-directions is {config.both_directions:,}"
                )

    @classmethod
    def prepare(
        cls,
        corpora: Sequence[Corpus],
        weights: Sequence[float] | None,
        tokenizers: Tokenizers,
        config: DataConfig,
        seed: int,
        directory: Path,
    ) -> Self:
        """Encodes the corpora into `directory`, or finds them there. Raises `HeedfulError` as `encode` does."""
        return cls(corpora, weights or [1.0] * len(corpora), tokenizers, config, seed, directory)

    @property
    def pairs(self) -> int:
        """Number of pairs that are trained on, each counted once."""
        return len(self._plain)

    @property
    def digest(self) -> str:
        """SHA-256 of the corpora."""
        return self._plain.digest

    def batches(self, epoch: int) -> list[Indices]:
        """Indices of each batch, in order; where every epoch has tokens of its own, this draws them first."""
        encoded = self._encoded(epoch)
        batches = self._composed(encoded, epoch)
        if self._config.short_first and epoch == 0:
            batches.sort(key=lambda batch: int(encoded.target_lengths[batch].max()))
        return batches

    def lengths(self, indices: Indices) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Source and target tokens of these pairs as they are without sampling, EOS included."""
        plain = self._both or self._plain
        return plain.source_lengths[indices], plain.target_lengths[indices]

    def collate(self, indices: Indices, epoch: int) -> Batch:
        """One batch of `batches(epoch)`."""
        encoded = self._encoded(epoch)
        return _batch(encoded.sources(indices), encoded.targets(indices), indices.tolist())

    def describe(self, indices: Indices) -> str:
        """Where pairs come from: "train.en lines 17, 408"."""
        places = sorted(self._plain.line(index % self.pairs) for index in indices)
        parts = []
        for path, lines in groupby(places, key=lambda place: place[0]):
            numbers = [str(line) for _, line in lines]
            rest = f" and {len(numbers) - _NAMED_LINES} more" if len(numbers) > _NAMED_LINES else ""
            parts.append(f"{path} lines {', '.join(numbers[:_NAMED_LINES])}{rest}")
        return "; ".join(parts)

    def _composed(self, encoded: EncodedCorpus | BothDirections, epoch: int) -> list[Indices]:
        return epoch_batches(
            encoded.source_lengths,
            encoded.target_lengths,
            self._config.batch_tokens,
            self._seed,
            epoch,
            encoded.ranges,
            self._weights * (len(encoded.ranges) // len(self._weights)),
        )

    def _encoded(self, epoch: int) -> EncodedCorpus | BothDirections:
        both = epoch < self._epochs_both
        if not self._config.varies:
            return self._both if both and self._both else self._plain
        if epoch not in self._sampled:
            seed = int(np.random.SeedSequence([self._seed, epoch]).generate_state(1, np.uint64)[0])
            drawn = encode(self._corpora, self._tokenizers, self._config, self._directory, seed)
            if drawn.digest != self._plain.digest:
                files = ", ".join(str(path) for corpus in self._corpora for path in corpus.paths)
                raise HeedfulError(f"the training files changed since the start ({files}); start a new run")
            # the epoch before may still be in use where batches are prepared ahead
            kept = {e: old for e, old in self._sampled.items() if e == epoch - 1}
            self._sampled = kept | {epoch: BothDirections(drawn) if both else drawn}
        return self._sampled[epoch]


def _padded(sequences: Sequence[Tokens]) -> Rows:
    """Each sequence and EOS."""
    lengths = np.array([len(tokens) for tokens in sequences])[:, None]
    places = np.arange(lengths.max() + 1)
    padded = np.where(places == lengths, EOS, PAD)
    padded[places < lengths] = np.concatenate([np.asarray(tokens, np.int64) for tokens in sequences])
    return padded, places <= lengths


def real_places(mask: Tensor) -> Tensor:
    """Where a flattened mask is True."""
    return mask.flatten().nonzero().squeeze(1)


def _visits(
    pairs: int,
    ranges: Sequence[tuple[int, int]] | None,
    weights: Sequence[float] | None,
    random: np.random.Generator,
) -> Indices:
    """Every pair as often as this epoch visits it."""
    parts = []
    for (start, stop), weight in zip(ranges or [(0, pairs)], weights or [1.0], strict=True):
        whole, size = int(weight), stop - start
        # rounded up or down by a draw, so that the average is exact
        extra = int((weight - whole) * size + random.random())
        drawn = np.argsort(random.random(size), kind="stable")[:extra]
        parts += [np.tile(np.arange(start, stop), whole), start + drawn]
    return np.concatenate(parts)


def _alike_together(
    source: Indices, target: Indices, longer: Indices, batch_tokens: int, random: np.random.Generator
) -> Indices:
    """An order in which neighbours have like lengths on both sides.

    Groups by target length, by source length within each, up and down in turn. With about √(3 · batches)
    groups of equal size, the spread within one batch is about as wide on either side.
    """
    noisy_source, noisy_target = (
        lengths * (1 + _LENGTH_NOISE * random.random(len(lengths))) for lengths in (source, target)
    )
    groups = max(1, round((3 * int(longer.sum()) / batch_tokens) ** 0.5))
    by_target = np.argsort(noisy_target, kind="stable")
    mass = np.cumsum(longer[by_target])
    group = np.empty_like(mass)
    group[by_target] = (mass - 1) * groups // mass[-1]
    return np.lexsort((np.where(group % 2, -noisy_source, noisy_source), group))


def _cut(order: Indices, lengths: Indices, batch_tokens: int) -> list[Indices]:
    """As many in a row as the budget allows, again and again. `lengths` stand in the given order."""
    parts, start = [], 0
    while start < len(order):
        most = max(1, batch_tokens // int(lengths[start]))
        longest = np.maximum.accumulate(lengths[start : start + most])
        cost = longest * np.arange(1, len(longest) + 1)
        size = max(1, int(np.searchsorted(cost, batch_tokens, side="right")))
        parts.append(order[start : start + size])
        start += size
    return parts
