"""A Transformer in the compiled engine: packed weights, and beam search over as many sentences as there are.

Serves greedy and beam search of one model on the CPU; whoever wants more takes the plain path.
"""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, c_double, c_int32, c_int64, c_uint8
from threading import Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from heedful.decoding.native.library import Question, library
from heedful.decoding.penalty import Penalty
from heedful.decoding.request import PRECISIONS
from heedful.decoding.search import Hypothesis
from heedful.model.flat import FlatTransformer

_SEQUENCES = 36
"""Of one thread's batch: with more, their keys and values leave the cache; with fewer, products become slow."""
_QUICK = 4
"""Sentences that are not worth a thread to wait beside."""


class Engine:
    """One model's weights, packed in a precision; `bans` are tokens that never come."""

    def __init__(self, flat: FlatTransformer, precision: str, *, bos: int, eos: int, bans: Sequence[int]) -> None:
        """Copies the weights. Raises MemoryError, and RuntimeError where there is no compiled library."""
        native = library()
        if native is None:
            raise RuntimeError("there is no compiled engine")
        self._native, self._flat, self._bos, self._eos = native, flat, bos, eos
        self._banned = np.zeros(flat.shape[8], np.uint8)
        self._banned[list(bans)] = 1
        tensors = [tensor.detach().contiguous() for tensor in flat.tensors]
        self._tables = tensors[:2]  # the engine reads the embeddings where they are
        pointers = (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))
        shape = (c_int32 * len(flat.shape))(*flat.shape)
        self._model = native.heedful_model(shape, pointers, flat.eps, PRECISIONS.index(precision))
        if not self._model:
            raise MemoryError

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            self._native.heedful_free_model(self._model)

    def search(
        self,
        sources: Sequence[Sequence[int]],
        prefixes: Sequence[Sequence[int]],
        max_lengths: Sequence[int],
        penalty: Penalty,
        *,
        width: int,
        n_best: int,
        batch_tokens: int,
        threads: int,
    ) -> list[list[Hypothesis]]:
        """As `heedful.decoding.search`, of sentences with their EOS; those that stand first are begun first.

        A thread has at most `batch_tokens` source tokens in work, or one sentence.
        """
        if not sources:
            return []
        longest = max(max_lengths)
        most_read = max(map(len, sources))
        positions = [self._flat.source_positions(most_read), self._flat.target_positions(longest)]
        if self._flat.rotary:
            positions.append(self._flat.rotary(max(most_read, longest)))
        penalties = np.array([penalty(max(1, length)) for length in range(longest + 1)])
        (tokens, starts), (begun, begun_starts) = _joined(sources), _joined(prefixes)
        limits = np.array(max_lengths, np.int32)
        threads = max(1, min(threads, len(sources)))
        most = min(_SEQUENCES, width * -(-len(sources) // threads))
        question = Question(
            _pointer(tokens, c_int32),
            _pointer(starts, c_int64),
            _pointer(begun, c_int32),
            _pointer(begun_starts, c_int64),
            _pointer(limits, c_int32),
            _pointer(penalties, c_double),
            _pointer(self._banned, c_uint8),
            *(len(sources), width, n_best, self._bos, self._eos, len(self._banned), most, batch_tokens),
        )
        # the fields hold addresses alone, and after Ctrl-C the search reads them until its step ends
        question.arrays = (tokens, starts, begun, begun_starts, limits, penalties, self._banned)
        answer = _Answer(self._native)
        self._run(question, positions, threads, answer, aside=len(sources) > _QUICK)
        return self._hypotheses(answer, len(sources), penalties)

    def _run(
        self, question: Question, positions: Sequence[Tensor], threads: int, answer: "_Answer", *, aside: bool
    ) -> None:
        succeeded = []

        def work() -> None:
            tables = [table.contiguous() for table in positions]
            places: list[int | None] = [table.data_ptr() for table in tables]
            places += [None] * (3 - len(places))
            succeeded.append(
                self._native.heedful_search(self._model, ctypes.byref(question), *places, threads, answer.pointer)
            )

        if not aside:
            work()
        else:  # this thread of Python's waits in the meantime, and so hears Ctrl-C
            thread = Thread(target=work)
            try:
                thread.start()
                thread.join()
            except BaseException:
                self._native.heedful_stop(answer.pointer)
                raise
        if succeeded != [True]:
            raise MemoryError

    def _hypotheses(self, answer: "_Answer", sentences: int, penalties: NDArray[np.float64]) -> list[list[Hypothesis]]:
        counts, tokens = np.empty(sentences, np.int32), c_int64()
        found = self._native.heedful_sizes(answer.pointer, _pointer(counts, c_int32), ctypes.byref(tokens))
        lengths, totals = np.empty(found, np.int32), np.empty(found, np.float32)
        finished, ids = np.empty(found, np.bool_), np.empty(tokens.value, np.int32)
        log_probs = np.empty(tokens.value, np.float32)
        arrays = (lengths, totals, finished, ids, log_probs)
        self._native.heedful_read(answer.pointer, *(array.ctypes.data for array in arrays))
        scores = totals / penalties[np.maximum(lengths, 1)]
        every_id, every_log_prob, end = ids.tolist(), log_probs.tolist(), 0
        hypotheses = []
        rows = zip(lengths.tolist(), totals.tolist(), scores.tolist(), finished.tolist(), strict=True)
        for length, total, score, ended in rows:
            start, end = end, end + length
            hypotheses.append(
                Hypothesis(tuple(every_id[start:end]), tuple(every_log_prob[start:end]), total, score, ended)
            )
        ends = np.cumsum(counts).tolist()
        return [hypotheses[end - count : end] for end, count in zip(ends, counts.tolist(), strict=True)]


class _Answer:
    """What a search finds; it is there for as long as somebody writes or reads it."""

    def __init__(self, native: ctypes.CDLL) -> None:
        self._native, self.pointer = native, native.heedful_answer()

    def __del__(self) -> None:
        self._native.heedful_free_answer(self.pointer)


def _joined(sequences: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """All tokens one after the other, and where each sequence begins and the last one ends."""
    starts = np.zeros(len(sequences) + 1, np.int64)
    np.cumsum([len(sequence) for sequence in sequences], out=starts[1:])
    return np.array([token for sequence in sequences for token in sequence], np.int32), starts


def _pointer(array: NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(POINTER(kind))
