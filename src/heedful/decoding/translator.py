"""Text in, text out: lines are cut into tokens, sorted, batched, searched, and answered in their own order."""

import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, Self

import torch

from heedful.checkpoint import LoadedModel, load_model
from heedful.data.batches import Batch, collate_pairs
from heedful.data.tokenizer import BOS, EOS, PAD, PIECE_CHARACTERS, UNK, Tokenizer, Tokenizers
from heedful.data.treebank.config import TreeConfig
from heedful.decoding import alignment, forced
from heedful.decoding.choosers import BeamSearch, Chooser, Sampling, draw_uniforms
from heedful.decoding.config import SearchConfig
from heedful.decoding.ensemble import EnsembleState, ensemble_step, model_step
from heedful.decoding.filters import Ban, BeginWith, Demands, Filter
from heedful.decoding.native.choice import Engines
from heedful.decoding.native.engine import Engine
from heedful.decoding.penalty import PENALTIES, Penalty
from heedful.decoding.request import Request
from heedful.decoding.search import Hypothesis, search
from heedful.decoding.translation import TextHypothesis, Translation
from heedful.decoding.tree_symbols import TreeSymbols
from heedful.errors import HeedfulError
from heedful.model.build import device_named
from heedful.model.seq2seq import Seq2Seq

logger = logging.getLogger("heedful")

BATCH_TOKENS = 2048
"""Most tokens of a batch on either side, padding included; a longer sentence is a batch of its own."""
MAX_TOKENS = 1024
"""Most tokens that are read of one sentence, EOS included."""
WINDOW = 2048
"""Lines that are read ahead, to be sorted by length."""
_NEVER = (PAD, UNK, BOS)
"""Tokens that no translation has."""
_WINDOW_CHARACTERS = 1 << 24
"""A window is full with so many characters, whatever its lines."""


@dataclass(frozen=True)
class Scores:
    """Log-probabilities of given targets, in the order of the pairs."""

    log_probs: list[float]
    """Natural log, summed over all tokens of a target, EOS included."""
    tokens: list[int]
    """How many tokens that is."""


class Translator:
    """Models that translate together, as an ensemble if there are several; all in evaluation mode."""

    def __init__(
        self,
        models: Sequence[Seq2Seq[Any, Any]],
        tokenizers: Tokenizers,
        search: SearchConfig | None = None,
        *,
        loaded: Sequence[LoadedModel] = (),
        draw: Callable[[Translation], str] | None = None,
        max_tokens: int = MAX_TOKENS,
        precision: str = "float32",
        demands: Callable[[Sequence[str]], Demands] | None = None,
    ) -> None:
        """`search` and `precision` are what a call does not say, `draw` makes the HTML that a notebook shows.

        `demands` makes what every call's targets have to be, where they may not be just anything.
        """
        if any(model.training for model in models):
            raise ValueError("a model in training mode translates with dropout; call .eval() first")
        self.models, self.tokenizers, self.search = list(models), tokenizers, search or SearchConfig()
        self.loaded, self.draw, self.max_tokens = list(loaded), draw, max_tokens
        self.precision, self.demands = precision, demands
        self._engines = Engines(self.models, bos=BOS, eos=EOS, bans=_NEVER, filtered=demands is not None)

    @classmethod
    def load(
        cls,
        model: Path | str,
        *others: Path | str,
        device: str = "auto",
        draw: Callable[[Translation], str] | None = None,
        precision: str = "float32",
    ) -> Self:
        """From model directories, each by its best checkpoint; search settings are the first one's.

        Raises `HeedfulError` for a damaged directory, for vocabularies that differ, and for an unknown device.
        """
        place = device_named(device)
        loaded = [load_model(Path(directory), place) for directory in (model, *others)]
        first = loaded[0]
        for other in loaded[1:]:
            for side in ("source", "target"):
                if getattr(first.tokenizers, side).bytes != getattr(other.tokenizers, side).bytes:
                    raise HeedfulError(
                        f"{other.directory} has another {side} vocabulary than {first.directory}; an ensemble needs "
                        "models of one vocabulary: train the second with --init-from the first"
                    )
        search, trees = SearchConfig(**first.config["decoding"]), first.config.get("trees")
        models = [each.model for each in loaded]
        demands = TreeSymbols(TreeConfig(**trees), first.tokenizers.target).of_texts if trees else None
        translator = cls(
            models, first.tokenizers, search, loaded=loaded, draw=draw, precision=precision, demands=demands
        )
        translator.search_with()  # a precision that does not exist is told now
        return translator

    def search_with(self, **options: Any) -> Request:
        """The settings of a call with these options (the fields of `Request`). Raises `HeedfulError`."""
        return Request.of(self.search, options | {"precision": options.get("precision") or self.precision})

    def precision_of(self, request: Request) -> str:
        """What products are really computed in: int8 is the compiled engine's alone."""
        return request.precision if request.precision != "int8" or self._engines.serving(request) else "float32"

    def translate(
        self,
        texts: Sequence[str] | str,
        *,
        prefixes: Sequence[str] | str | None = None,
        demands: Demands | None = None,
        batch_tokens: int = BATCH_TOKENS,
        **options: Any,
    ) -> list[Translation]:
        """One translation for each text, in order; a single text counts as one of a list.

        A translation begins with its prefix; one prefix is for all. `demands` are those of these texts, in place of
        the translator's own. Options are the fields of `Request`:
        beam_size, length_penalty, length_penalty_kind, max_extra_tokens, n_best, precision; sample, temperature,
        top_k, top_p, seed. Raises `HeedfulError` for one that does not fit.
        """
        request = self.search_with(**options)
        texts = [texts] if isinstance(texts, str) else texts
        every = list(repeat(prefixes or "", len(texts)) if isinstance(prefixes, str | None) else prefixes)
        if len(every) != len(texts):
            raise HeedfulError(f"{len(texts)} texts have {len(every)} prefixes; give one each, or one for all")
        return self._translate(texts, every, request, batch_tokens, 0, demands)

    def translate_stream(
        self,
        lines: Iterable[str],
        *,
        window: int = WINDOW,
        prefix: str | None = None,
        batch_tokens: int = BATCH_TOKENS,
        **options: Any,
    ) -> Iterator[Translation]:
        """Translates line by line, in order, reading at most `window` lines ahead; 1 answers each at once.

        Otherwise as `translate`, whatever the window.
        """
        request = self.search_with(**options)
        done = 0
        for part in _windows(lines, window):
            yield from self._translate(part, [prefix or ""] * len(part), request, batch_tokens, done)
            done += len(part)

    @torch.no_grad()
    def score_pairs(self, pairs: Iterable[tuple[str, str]], *, batch_tokens: int = BATCH_TOKENS) -> Scores:
        """Natural-log probability of each target given its source, and its number of tokens."""
        pairs = list(pairs)
        numbers = range(len(pairs))
        sources = self._encode_sources([source for source, _ in pairs], numbers)
        targets = self._encode(self.tokenizers.target, [target for _, target in pairs], numbers)
        scores = Scores([0.0] * len(pairs), [len(target) + 1 for target in targets])
        longer = [max(len(source), len(target)) + 1 for source, target in zip(sources, targets, strict=True)]
        for rows in _batches(longer, batch_tokens):
            batch = self._collate([sources[row] for row in rows], [targets[row] for row in rows])
            for row, log_probs in zip(rows, forced.token_log_probs(self.models, batch), strict=True):
                scores.log_probs[row] = math.fsum(log_probs)
        return scores

    @torch.no_grad()
    def force(self, source: str, target: str) -> Translation:
        """The given target as if the search had found it, with its score and, when asked for, its attention."""
        [source_ids] = self._encode_sources([source], [0])
        [target_ids] = self._encode(self.tokenizers.target, [target], [0])
        [log_probs] = forced.token_log_probs(self.models, self._collate([source_ids], [target_ids]))
        total, tokens = math.fsum(log_probs), (*target_ids, EOS)
        hypothesis = Hypothesis(tokens, tuple(log_probs), total, total / _penalty(self.search)(len(tokens)), True)
        return self._answer(source, source_ids, [hypothesis])

    @torch.no_grad()
    def attention(self, source: Sequence[int], target: Sequence[int]) -> forced.Attention | None:
        """Of the first model, in a forced pass over tokens with their EOS; None where there is none."""
        if not source or not target:
            return None
        # The last target token is predicted, never read.
        return forced.attention(self.models[0], self._collate([source[:-1]], [target[:-1]]))

    def align(
        self, attention: forced.Attention | None, source: Sequence[int], target: Sequence[int]
    ) -> alignment.Pairs:
        """Word alignments from what `attention` gave. Raises `HeedfulError` for a model without attention."""
        if not source or not target:
            return []
        if attention is None or (cross := attention["cross"]) is None:
            raise HeedfulError("this model has no attention, so it cannot align words; use a model that has")
        source_words = self.tokenizers.source.word_ids(source)
        return alignment.align(cross, source_words, self.tokenizers.target.word_ids(target))

    def _translate(
        self,
        texts: Sequence[str],
        prefixes: Sequence[str],
        request: Request,
        batch_tokens: int,
        start: int,
        demands: Demands | None = None,
    ) -> list[Translation]:
        """`start` is the number of texts that came before."""
        if demands is None and self.demands:
            demands = self.demands(texts)
        blank = [not text or text.isspace() for text in texts]
        filled = [row for row in range(len(texts)) if not blank[row]]
        numbers = [start + row for row in filled]
        sources = self._encode_sources([texts[row] for row in filled], numbers)
        begun = self._encode(self.tokenizers.target, [prefixes[row] for row in filled], numbers)
        answers = {row: self._answer(text, [], []) for row, text in enumerate(texts) if blank[row]}
        engine = None if demands else self._engines.serving(request)
        most = math.inf if engine else batch_tokens  # the engine makes batches of its own
        for places in _batches([len(source) + 1 for source in sources], most):
            chosen = [sources[place] for place in places], [begun[place] for place in places]
            if engine:
                found = self._search_compiled(engine, *chosen, request, batch_tokens)
            else:
                rows = [filled[place] for place in places]
                found = self._search(*chosen, [start + row for row in rows], request, demands, rows)
            for place, hypotheses in zip(places, found, strict=True):
                answers[filled[place]] = self._answer(texts[filled[place]], sources[place], hypotheses)
        return [answers[row] for row in range(len(texts))]

    @torch.no_grad()
    def _search(
        self,
        sources: Sequence[list[int]],
        prefixes: Sequence[list[int]],
        numbers: Sequence[int],
        request: Request,
        demands: Demands | None,
        rows: Sequence[int],
    ) -> list[list[Hypothesis]]:
        """`numbers` are those of the lines, `rows` those of the texts that the demands are made of."""
        batch = self._collate(sources, [()] * len(sources))
        max_lengths = _max_lengths(sources, prefixes, request)
        filters: list[Filter] = [Ban(_NEVER), BeginWith(prefixes)]
        if demands:
            max_lengths = [max(own, demands.shortest(row)) for own, row in zip(max_lengths, rows, strict=True)]
            filters.append(demands.filter(rows, torch.tensor(max_lengths, device=batch.source.device)))
        chooser = _chooser(request, numbers, max(max_lengths))
        low = request.precision == "bfloat16"
        with torch.autocast(batch.source.device.type, torch.bfloat16) if low else nullcontext():
            states = [
                model.start(model.encode(batch.source, batch.source_mask), beam=chooser.width) for model in self.models
            ]
            steps = [model_step(model) for model in self.models]
            alone = len(steps) == 1
            return search(
                steps[0] if alone else ensemble_step(steps),
                states[0] if alone else EnsembleState(tuple(states)),
                bos=BOS,
                eos=EOS,
                max_lengths=torch.tensor(max_lengths, device=batch.source.device),
                chooser=chooser,
                penalty=_penalty(request),
                filters=filters,
                n_best=request.n_best,
            )

    def _search_compiled(
        self,
        engine: Engine,
        sources: Sequence[list[int]],
        prefixes: Sequence[list[int]],
        request: Request,
        batch_tokens: int,
    ) -> list[list[Hypothesis]]:
        """What `_search` finds, up to rounding."""
        return engine.search(
            [[*source, EOS] for source in sources],
            prefixes,
            _max_lengths(sources, prefixes, request),
            _penalty(request),
            width=request.beam_size,
            n_best=request.n_best,
            batch_tokens=batch_tokens,
            threads=torch.get_num_threads(),
        )

    def _answer(self, text: str, source: list[int], hypotheses: Sequence[Hypothesis]) -> Translation:
        """Tokens to text; a blank source has neither."""
        target, ids = self.tokenizers.target, [*source, EOS] if hypotheses else []
        texts = [
            TextHypothesis(
                target.decode(each.tokens),
                each.score,
                each.log_prob,
                target.pieces(each.tokens),
                list(each.token_log_probs),
                list(each.tokens),
            )
            for each in hypotheses
        ]
        blank = TextHypothesis("", 0.0, 0.0, [], [], [])
        return Translation(text, self.tokenizers.source.pieces(ids), texts or [blank], ids, self)

    def _encode_sources(self, texts: Sequence[str], numbers: Sequence[int]) -> list[list[int]]:
        tokenizer, most = self.tokenizers.source, PIECE_CHARACTERS * self.max_tokens
        return self._encode(tokenizer, [tokenizer.familiar(text[:most]) for text in texts], numbers)

    def _encode(self, tokenizer: Tokenizer, texts: Sequence[str], numbers: Sequence[int]) -> list[list[int]]:
        """Tokens without EOS, no more than there may be; what is cut off is reported by line.

        Since a piece holds few characters, no more text is looked at than could be kept.
        """
        most = self.max_tokens - 1
        encoded = tokenizer.encode_all([text[: PIECE_CHARACTERS * self.max_tokens] for text in texts])
        for number, tokens in zip(numbers, encoded, strict=True):
            if len(tokens) > most:
                logger.warning(f"line {number + 1} has more than {most} tokens; only the first {most} are read")
        return [tokens[:most] for tokens in encoded]

    def _collate(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> Batch:
        return collate_pairs(sources, targets).to(self.models[0].device)


def _max_lengths(sources: Sequence[list[int]], prefixes: Sequence[list[int]], request: Request) -> list[int]:
    """Of the translations. The cap compares like with like: both lengths count EOS."""
    return [
        1 + max(len(source) + request.max_extra_tokens, len(prefix))
        for source, prefix in zip(sources, prefixes, strict=True)
    ]


def _penalty(search: SearchConfig) -> Penalty:
    return PENALTIES[search.length_penalty_kind](search.length_penalty)


def _chooser(request: Request, numbers: Sequence[int], positions: int) -> Chooser:
    if not request.sample:
        return BeamSearch(request.beam_size)
    uniforms = draw_uniforms(request.seed, numbers, request.n_best, positions)
    return Sampling(uniforms, request.temperature, request.top_k, request.top_p)


def _batches(lengths: Sequence[int], batch_tokens: float) -> Iterator[list[int]]:
    """Places of all sequences, longest first, as many together as the budget allows."""
    batch: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(place)
    if batch:
        yield batch


def _windows(lines: Iterable[str], window: int) -> Iterator[list[str]]:
    """So many lines at a time, or fewer where they are long."""
    part: list[str] = []
    characters = 0
    for line in lines:
        part.append(line)
        characters += len(line)
        if len(part) >= window or characters >= _WINDOW_CHARACTERS:
            yield part
            part, characters = [], 0
    if part:
        yield part
