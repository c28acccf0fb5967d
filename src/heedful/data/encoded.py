"""Corpora as token arrays on disk, larger than memory if need be: encoded once, reused while nothing changed."""

import hashlib
import json
import logging
import os
import shutil
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import accumulate, chain, compress, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from heedful.data import sampling
from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus
from heedful.data.lock import locked
from heedful.data.tokenizer import EOS, PAD, PIECE_CHARACTERS, Tokenizer, Tokenizers
from heedful.data.treebank import substitution
from heedful.errors import HeedfulError
from heedful.progress import progress

logger = logging.getLogger("heedful")

Tokens = Sequence[int] | NDArray[np.integer[Any]]
Rows = tuple[NDArray[np.int64], NDArray[np.bool_]]
"""Sequences `[sequences, longest]`, EOS last, then padding; and where they have tokens."""
Item = TypeVar("Item")

_LAYOUT = 1
"""Raised whenever what `encode` writes changes, so that older files are not reused."""
_CHUNK = 4096
_RECORD = "encoded.json"
_SIDES = ("source", "target")


class EncodedCorpus:
    """Pairs of several corpora, one after the other, as memory-mapped tokens. Every sequence ends in EOS."""

    def __init__(self, home: Path, corpora: Sequence[Corpus], digest: str) -> None:
        self.digest = digest
        """SHA-256 of the corpora."""
        record = json.loads((home / _RECORD).read_text())
        self.skipped: Mapping[str, int] = record["skipped"]
        """How many pairs were left out, by reason."""
        ends = list(accumulate(record["pairs"]))
        self.ranges = list(zip([0, *ends], ends, strict=False))
        """First pair of each corpus, and the one after its last."""
        self.lines = _mapped(home / "lines", np.dtype(np.int64))
        """1-based line of each pair in its files."""
        self._paths = [corpus.paths[0] for corpus in corpora]
        self._tokens = [_mapped(home / f"{side}.tokens", np.dtype(record["types"][side])) for side in _SIDES]
        self._ends = [_mapped(home / f"{side}.ends", np.dtype(np.int64)) for side in _SIDES]
        self.source_lengths, self.target_lengths = (np.diff(ends, prepend=0).astype(np.int32) for ends in self._ends)

    def __len__(self) -> int:
        return len(self.lines)

    def sources(self, indices: NDArray[np.int64]) -> Rows:
        """Source tokens of these pairs."""
        return self._rows(0, self.source_lengths, indices)

    def targets(self, indices: NDArray[np.int64]) -> Rows:
        """Target tokens of these pairs."""
        return self._rows(1, self.target_lengths, indices)

    def line(self, index: int) -> tuple[Path, int]:
        """The (source) file of a pair and its 1-based line there."""
        corpus = bisect_right([end for _, end in self.ranges], index)
        return self._paths[corpus], int(self.lines[index])

    def _rows(self, side: int, every_length: NDArray[np.int32], indices: NDArray[np.int64]) -> Rows:
        # all at once: a GPU waits for a loop over some thousand sentences
        lengths = every_length[indices]
        places, starts = np.arange(lengths.max()), self._ends[side][indices] - lengths
        real = places < lengths[:, None]
        tokens = self._tokens[side][np.where(real, starts[:, None] + places, 0)]
        return np.where(real, tokens, PAD).astype(np.int64), real


class BothDirections:
    """The pairs of a corpus, and behind them all of them with source and target exchanged."""

    def __init__(self, plain: EncodedCorpus) -> None:
        self._plain = plain
        self.source_lengths = np.concatenate((plain.source_lengths, plain.target_lengths))
        self.target_lengths = np.concatenate((plain.target_lengths, plain.source_lengths))
        self.ranges = plain.ranges + [(start + len(plain), stop + len(plain)) for start, stop in plain.ranges]

    def sources(self, indices: NDArray[np.int64]) -> Rows:
        """Source tokens of these pairs."""
        return self._rows(self._plain.sources, self._plain.targets, indices)

    def targets(self, indices: NDArray[np.int64]) -> Rows:
        """Target tokens of these pairs."""
        return self._rows(self._plain.targets, self._plain.sources, indices)

    def _rows(
        self,
        there: Callable[[NDArray[np.int64]], Rows],
        back: Callable[[NDArray[np.int64]], Rows],
        indices: NDArray[np.int64],
    ) -> Rows:
        exchanged = indices >= len(self._plain)
        parts = [
            (rows, read(indices[rows] % len(self._plain)))
            for rows, read in ((~exchanged, there), (exchanged, back))
            if rows.any()
        ]
        longest = max(real.shape[1] for _, (_, real) in parts)
        tokens, real = np.full((len(indices), longest), PAD, np.int64), np.zeros((len(indices), longest), np.bool_)
        for rows, (own, own_real) in parts:
            tokens[rows, : own.shape[1]], real[rows, : own.shape[1]] = own, own_real
        return tokens, real


def encode(
    corpora: Sequence[Corpus],
    tokenizers: Tokenizers,
    config: DataConfig,
    directory: Path,
    seed: int | None = None,
) -> EncodedCorpus:
    """Tokens of the corpora's pairs, from `directory` where they stand there already.

    A pair is skipped, and counted in a warning, where a side is blank or has more than `config.max_length`
    tokens, EOS included. With a `seed`, `config.substitution` draws other trees and `config.subword_sampling` other
    segmentations of what was not skipped, a pure function of the seed; where one is too long, the ordinary pair
    stands. Only the last such draw is kept. Processes may call this at once: one works, the others wait and read.

    Raises `HeedfulError` for bad input, where no pair is left, and where the disk is full.
    """
    digest = _sha256("".join(corpus.digest() for corpus in corpora).encode())
    identity = {
        "layout": _LAYOUT,
        "corpora": digest,
        "vocabularies": [_sha256(tokenizers.source.bytes), _sha256(tokenizers.target.bytes)],
        "max_length": config.max_length,
    }
    with locked(directory):
        home = directory / f"plain-{_key(identity)}"
        _ensure(home, tokenizers, lambda writer: _fill(writer, corpora, tokenizers, config.max_length))
        plain = EncodedCorpus(home, corpora, digest)
        if seed is None or not config.varies:
            return plain
        draw = {
            "seed": seed,
            "alpha": config.subword_sampling,
            "sampler": sampling.VERSION,
            "substitution": [config.substitution, substitution.VERSION],
        }
        home = directory / f"sampled-{_key(identity | draw)}"
        for old in set(directory.glob("sampled-*")) - {home}:
            shutil.rmtree(old)
        _ensure(home, tokenizers, lambda writer: _fill_sampled(writer, corpora, tokenizers, config, plain, seed))
        return EncodedCorpus(home, corpora, digest)


class _Writer:
    """Appends pairs to the files of an `EncodedCorpus`."""

    def __init__(self, home: Path, tokenizers: Tokenizers, files: ExitStack) -> None:
        self._home = home
        vocabularies = (tokenizers.source.vocab_size, tokenizers.target.vocab_size)
        self._types = [np.dtype(np.uint16 if size <= 2**16 else np.uint32) for size in vocabularies]
        names = [f"{side}.{kind}" for side in _SIDES for kind in ("tokens", "ends")]
        self._files = {name: files.enter_context((home / name).open("wb")) for name in (*names, "lines")}
        self._totals = [0, 0]
        self.pairs: list[int] = []
        self.skipped: Counter[str] = Counter()

    def start_corpus(self) -> None:
        """What follows belongs to the next corpus."""
        self.pairs.append(0)

    def append(self, lines: Tokens, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> None:
        """Pairs, with the line of each; tokens come without EOS."""
        self.pairs[-1] += len(lines)
        self._files["lines"].write(np.array(lines, np.int64).tobytes())
        for number, (side, sequences) in enumerate(zip(_SIDES, (sources, targets), strict=True)):
            ends = self._totals[number] + np.cumsum([len(tokens) + 1 for tokens in sequences], dtype=np.int64)
            tokens = chain.from_iterable(chain(tokens, (EOS,)) for tokens in sequences)
            self._files[f"{side}.tokens"].write(np.fromiter(tokens, self._types[number]).tobytes())
            self._files[f"{side}.ends"].write(ends.tobytes())
            self._totals[number] = int(ends[-1]) if len(ends) else self._totals[number]

    def finish(self) -> None:
        """Everything is on the disk, the record last."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        record = {
            "pairs": self.pairs,
            "skipped": dict(+self.skipped),
            "types": dict(zip(_SIDES, (kind.name for kind in self._types), strict=True)),
        }
        sums = {name: _file_sha256(self._home / name) for name in self._files} | {_RECORD: _record_sha256(record)}
        (self._home / _RECORD).write_text(json.dumps(record | {"sha256": sums}, indent=2) + "\n")


def _ensure(home: Path, tokenizers: Tokenizers, fill: Callable[[_Writer], None]) -> None:
    """Whatever happens, `home` is whole afterwards or not there: `fill` writes aside, a rename makes it so."""
    if home.exists():
        if _whole(home):
            return
        logger.warning(f"{home} is damaged; the corpus is encoded again")
    partial = home.with_name(f"{home.name}.partial")
    for remains in (home, partial):
        shutil.rmtree(remains, ignore_errors=True)
    try:
        partial.mkdir()
        with ExitStack() as files:
            writer = _Writer(partial, tokenizers, files)
            fill(writer)
            writer.finish()
        partial.rename(home)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise HeedfulError(f"cannot write the encoded corpus to {home.parent}: {reason}; make room") from None
        raise


def _whole(home: Path) -> bool:
    try:
        record = json.loads((home / _RECORD).read_text())
        sums = record.pop("sha256")
        whole: bool = sums.pop(_RECORD) == _record_sha256(record)
        return whole and all(_file_sha256(home / name) == total for name, total in sums.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _fill(writer: _Writer, corpora: Sequence[Corpus], tokenizers: Tokenizers, max_length: int) -> None:
    blank, long = "with an empty side", f"longer than {max_length} tokens"
    threads = os.cpu_count() or 1
    total = sum(corpus.count() for corpus in corpora)
    done = 0
    with progress("encoding", total) as meter:
        for corpus in corpora:
            writer.start_corpus()
            for chunk in _chunks(enumerate(corpus.pairs(), start=1)):
                rows = []
                for line, (source, target) in chunk:
                    if not source.strip() or not target.strip():
                        writer.skipped[blank] += 1
                    elif max(len(source), len(target)) > PIECE_CHARACTERS * max_length:
                        writer.skipped[long] += 1
                    else:
                        rows.append((line, source, target))
                sources = tokenizers.source.encode_all([source for _, source, _ in rows], threads)
                targets = tokenizers.target.encode_all([target for _, _, target in rows], threads)
                fits = [max(len(pair[0]), len(pair[1])) < max_length for pair in zip(sources, targets, strict=True)]
                writer.skipped[long] += fits.count(False)
                writer.append(
                    [line for line, _, _ in compress(rows, fits)],
                    list(compress(sources, fits)),
                    list(compress(targets, fits)),
                )
                done += len(chunk)
                meter.update(done)
    _tell_skipped(+writer.skipped, done)


def _tell_skipped(skipped: Mapping[str, int], pairs: int) -> None:
    reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
    if sum(skipped.values()) == pairs:
        raise HeedfulError(
            f"no training pair is left of {pairs}: {reasons}; check the files with heedful check-data, "
            "or raise --max-length"
        )
    if skipped:
        logger.warning(f"skipped {sum(skipped.values())} of {pairs} training pairs: {reasons}")


def _fill_sampled(
    writer: _Writer,
    corpora: Sequence[Corpus],
    tokenizers: Tokenizers,
    config: DataConfig,
    plain: EncodedCorpus,
    seed: int,
) -> None:
    alpha, first, number = config.subword_sampling, 0, 0

    def draw(tokenizer: Tokenizer, texts: Sequence[str], side: int) -> list[Tokens]:
        if not alpha:
            return list(tokenizer.encode_all(texts, os.cpu_count() or 1))
        state = np.random.SeedSequence([seed, number, side]).generate_state(1)
        return list(tokenizer.sample_all(texts, int(state[0]), alpha))

    def ordinary(index: int) -> tuple[Tokens, Tokens]:
        source, target = (rows(np.array([index]))[0][0, :-1] for rows in (plain.sources, plain.targets))
        return source, target

    for order, (corpus, (start, stop)) in enumerate(zip(corpora, plain.ranges, strict=True)):
        writer.start_corpus()
        lines = plain.lines[start:stop]
        kept = np.zeros(lines[-1] if len(lines) else 0, np.bool_)
        kept[lines - 1] = True
        own = int(np.random.SeedSequence([seed, order]).generate_state(1)[0])
        for chunk in _chunks(corpus.chosen(kept, config.substitution, own)):
            sources, targets = zip(*chunk, strict=True)
            drawn = zip(draw(tokenizers.source, sources, 0), draw(tokenizers.target, targets, 1), strict=True)
            pairs = [
                pair if max(map(len, pair)) < config.max_length else ordinary(first + place)
                for place, pair in enumerate(drawn)
            ]
            writer.append(plain.lines[first : first + len(chunk)], *zip(*pairs, strict=True))
            first, number = first + len(chunk), number + 1


def _chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, _CHUNK)):
        yield chunk


def _mapped(path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    return np.asarray(np.memmap(path, kind, mode="r"))


def _key(identity: Mapping[str, object]) -> str:
    return _sha256(json.dumps(identity, sort_keys=True).encode())[:16]


def _record_sha256(record: Mapping[str, object]) -> str:
    return _sha256(json.dumps(record).encode())


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
