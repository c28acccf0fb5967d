"""Random segmentations: BPE-dropout (Provilkov et al. 2020) and subword regularisation (Kudo 2018).

Knows pieces, scores and texts, nothing of files or of SentencePiece. All words of many texts are segmented at once.

What is drawn is the same on every machine: PCG64's raw bits are fixed by numpy's promise, and of floats there are
only products, quotients, sums in order, and exponentials that are rounded correctly.
"""

import decimal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

VERSION = 1
"""Raised whenever equal arguments draw other segmentations."""

_BATCH = 2**19
"""Characters that are segmented at once; bounds the memory."""
_NONE = np.int64(2**62)
"""Rank of a pair that is no piece."""
_CODE_BITS = 21
"""Of a Unicode character."""
_UNKNOWN_PENALTY = 10.0
"""An unknown character's score lies this far below the lowest of a piece, as in SentencePiece."""

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
RawBits = Callable[[int], npt.NDArray[np.uint64]]


class SubwordSampler:
    """Draws segmentations of texts into pieces."""

    def __init__(self, pieces: Mapping[str, int], scores: Sequence[float], unigram: bool, first_byte: int) -> None:
        """`pieces` by their text, a space first or not at all in it; `scores` by token.

        A character without a piece is spelled in bytes, whose tokens are `first_byte` and the 255 after it.
        """
        self._scores = tuple(scores[token] for token in pieces.values())
        self._tokens = np.array([*pieces.values(), -1], np.int64)
        self._longest = max(map(len, pieces), default=1)
        self._unigram = unigram
        self._first_byte = first_byte
        # a trie of the pieces: from a node and a character, packed into an edge, to the next node
        nodes = {"": 0}
        for piece in pieces:
            for end in range(1, len(piece) + 1):
                nodes.setdefault(piece[:end], len(nodes))
        edges = {nodes[text[:-1]] << _CODE_BITS | ord(text[-1]): node for text, node in nodes.items() if text}
        self._edges = np.array([*sorted(edges), -1], np.int64)
        self._nodes = np.array([edges[edge] for edge in sorted(edges)], np.int64)
        numbers = {piece: number for number, piece in enumerate(pieces)}
        self._pieces = np.array([numbers.get(text, -1) for text in nodes], np.int32)

    def sample(self, texts: Sequence[str], seed: int, alpha: float) -> list[list[int]]:
        """Tokens of every text, a pure function of the arguments.

        `alpha` is the probability with which BPE-dropout skips a merge, or the exponent of the probabilities that
        a unigram model gives to segmentations. Raises `UnicodeEncodeError` for half a surrogate pair.
        """
        raw = np.random.PCG64(seed).random_raw
        found: list[list[int]] = []
        for batch in _batches(texts):
            words = [f" {word}" for text in batch if text for word in text.split(" ")]
            numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
            lexicon = self._look_up(list(numbers))
            kinds = np.fromiter(map(numbers.__getitem__, words), np.int64, len(words))
            starts = self._draw(lexicon, kinds, alpha, raw)
            found += self._spell(lexicon, kinds, starts, [text.count(" ") + 1 if text else 0 for text in batch])
        return found

    def _look_up(self, words: Sequence[str]) -> "_Lexicon":
        """All pieces in each of the words. None reaches into the next word, because that begins with a space."""
        text = "".join(words)
        codes = np.frombuffer(text.encode("utf-32-le"), "<u4")
        spans = np.full((len(codes), self._longest), -1, np.int32)
        padded = np.append(codes, np.full(self._longest, ord(" "), np.uint32)).astype(np.int64)
        start, node = np.arange(len(codes)), np.zeros(len(codes), np.int64)
        for place in range(self._longest):
            key = node << _CODE_BITS | padded[start + place]
            edge = np.searchsorted(self._edges[:-1], key)
            found = self._edges[edge] == key
            start, node = start[found], self._nodes[edge[found]]
            whole = self._pieces[node] >= 0
            spans[start[whole] + place, place] = self._pieces[node[whole]]
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        return _Lexicon(codes, np.cumsum(lengths) - lengths, lengths, spans)

    def _draw(self, lexicon: "_Lexicon", kinds: Integers, alpha: float, raw: RawBits) -> Flags:
        """For every character of the words whether a piece begins with it."""
        if not self._unigram:
            ranks = np.append(np.unique(-np.array(self._scores), return_inverse=True)[1].astype(np.int64) << 32, _NONE)
            return _drop_merges(lexicon, kinds, ranks, alpha, raw)
        return _sample_paths(lexicon, kinds, _weights(self._scores, alpha), raw)

    def _spell(self, lexicon: "_Lexicon", kinds: Integers, starts: Flags, words: Sequence[int]) -> Iterator[list[int]]:
        """Tokens of each text, which holds so many of the words."""
        rows = lexicon.rows(kinds)
        ends = np.flatnonzero(np.append(starts[1:], True)) if len(starts) else np.zeros(0, np.int64)
        lengths = np.diff(ends, prepend=-1)
        tokens = self._tokens[lexicon.spans[rows[ends], lengths - 1]]
        unknown = tokens < 0
        codes = lexicon.codes[rows[ends]]
        sizes = np.where(unknown, 1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000), 1)
        spelled = np.repeat(tokens, sizes)
        text = codes[unknown].tobytes().decode("utf-32-le").encode()
        spelled[spelled < 0] = np.frombuffer(text, np.uint8).astype(np.int64) + self._first_byte
        # characters → pieces → tokens, each counted from the first text on
        characters = np.append(0, np.cumsum(lexicon.lengths[kinds]))[np.cumsum(words, dtype=np.int64)]
        stops = np.append(0, np.cumsum(sizes))[np.searchsorted(ends, characters)]
        everything = spelled.tolist()
        start = 0
        for stop in stops.tolist():
            yield everything[start:stop]
            start = stop


@dataclass(frozen=True)
class _Lexicon:
    """Different words, one after the other: their characters are the rows."""

    codes: npt.NDArray[np.uint32]
    """[row]"""
    firsts: Integers
    """[word]: row of its first character."""
    lengths: Integers
    """[word]: characters."""
    spans: npt.NDArray[np.int32]
    """[row, n]: the piece of n + 1 characters that ends with this one, or −1."""

    def rows(self, kinds: Integers) -> Integers:
        """Row of every character of a text made of these words."""
        lengths = self.lengths[kinds]
        shift = self.firsts[kinds] - (np.cumsum(lengths) - lengths)
        return np.repeat(shift, lengths) + np.arange(lengths.sum())


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text) + 1
        if size >= _BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _drop_merges(lexicon: _Lexicon, kinds: Integers, ranks: Integers, alpha: float, raw: RawBits) -> Flags:
    """Algorithm 1 of Provilkov et al., of all words at once.

    A step looks at every pair of neighbours that make a piece, leaves out each with probability `alpha`, and
    merges the best of the others, the leftmost of equals. A word in which none is left is ready.
    `ranks` are multiples of 2³², the lower the better.
    """
    rows = lexicon.rows(kinds)
    width = lexicon.spans.shape[1]
    starts = np.ones(len(rows), np.bool_)
    # of every symbol of the words in work: its first character, its length, and the rank of it with the next one
    place = np.arange(len(rows))
    size = np.ones(len(rows), np.int64)
    rank = np.full(len(rows), _NONE)
    counts = lexicon.lengths[kinds]  # symbols in each of these words

    def look_up(left: Integers) -> None:
        right = left + 1
        length = size[left] + size[right]
        piece = lexicon.spans[rows[place[right] + size[right] - 1], np.minimum(length, width) - 1]
        rank[left] = np.where(length <= width, ranks[piece], _NONE)

    inner = np.ones(len(rows), np.bool_)
    inner[np.cumsum(counts) - 1] = False
    look_up(np.flatnonzero(inner))
    skipped = int(alpha * 2**32)
    while len(counts):
        firsts = np.cumsum(counts) - counts
        offered = rank + np.arange(len(rank))
        offered[_uint32(raw, len(rank)) < skipped] = _NONE
        best = np.minimum.reduceat(offered, firsts)
        going = best < _NONE
        chosen = best[going] & 0xFFFFFFFF
        starts[place[chosen + 1]] = False
        size[chosen] += size[chosen + 1]
        kept = np.repeat(going, counts)
        kept[chosen + 1] = False
        place, size, rank = place[kept], size[kept], rank[kept]
        before = chosen - firsts[going]  # symbols of the word before the new one
        counts = counts[going] - 1
        new = np.cumsum(counts) - counts + before
        last = before == counts - 1
        rank[new[last]] = _NONE
        look_up(np.concatenate([new[~last], new[before > 0] - 1]))
    return starts


def _sample_paths(lexicon: _Lexicon, kinds: Integers, weights: Floats, raw: RawBits) -> Flags:
    """From the end of every word back to its start, each piece with its probability given where it ends."""
    likely = _cumulative(lexicon, weights)
    lengths = lexicon.lengths[kinds]
    ends = np.cumsum(lengths)
    row, character = lexicon.firsts[kinds] + lengths - 1, ends - 1
    first = ends - lengths
    starts = np.zeros(int(lengths.sum()), np.bool_)
    while len(row):
        draws = (raw(len(row)) >> np.uint64(11)) * 2.0**-53
        length = 1 + (likely[row] <= draws[:, None]).sum(axis=1)
        row, character = row - length, character - length
        starts[character + 1] = True
        going = character >= first
        row, character, first = row[going], character[going], first[going]
    return starts


def _cumulative(lexicon: _Lexicon, weights: Floats) -> Floats:
    """[row, n]: of a random segmentation with an end after this character, the probability that the last piece has
    up to n + 1 characters. A segmentation's probability is proportional to the product of its pieces' weights.
    """
    likely = weights[lexicon.spans]
    likely[lexicon.spans[:, 0] < 0, 0] = weights[-2]
    # forward probability of each word n + 1 characters before, in units of that right before
    order = np.argsort(-lexicon.lengths, kind="stable")
    firsts, lengths = lexicon.firsts[order], lexicon.lengths[order]
    before = np.zeros((len(order), likely.shape[1]))
    before[:, 0] = 1
    for position in range(int(lengths.max(initial=0))):
        active = int(np.searchsorted(-lengths, -position))  # words longer than this
        rows = firsts[:active] + position
        sums = np.cumsum(before[:active] * likely[rows], axis=1)
        total = sums[:, -1:]
        likely[rows] = sums / total
        before = np.concatenate([np.ones((active, 1)), before[:active, :-1] / total], axis=1)
    return likely


@lru_cache(2)
def _weights(scores: tuple[float, ...], alpha: float) -> Floats:
    """Of every piece, of a character without one, and of what is neither (0): exp(α score), rounded correctly."""
    exponential = decimal.Context(prec=20).exp
    unknown = min(scores, default=0.0) - _UNKNOWN_PENALTY
    return np.array([float(exponential(decimal.Decimal(alpha * score))) for score in (*scores, unknown)] + [0.0])


def _uint32(raw: RawBits, count: int) -> npt.NDArray[np.uint32]:
    return raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
