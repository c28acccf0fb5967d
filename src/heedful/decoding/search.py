"""One loop over a step function: greedy search, beam search and sampling, for whatever steps (Section 6.1).

It knows no model and no text. Filters say what may come next, a chooser picks, a length penalty ranks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heedful.decoding.choosers import Candidates, Chooser
from heedful.decoding.filters import EndBy, Filter
from heedful.decoding.penalty import Penalty
from heedful.model.seq2seq import State

S = TypeVar("S", bound=State)
Step = Callable[[Int[Tensor, " rows"], S], tuple[Float[Tensor, "rows vocab"], S]]
"""(last tokens, state) → (natural-log probabilities of the next ones, new state); the search may overwrite them."""


@dataclass(frozen=True)
class Hypothesis:
    """A sequence that the search found."""

    tokens: tuple[int, ...]
    """Without BOS; with EOS, unless it is unfinished."""
    token_log_probs: tuple[float, ...]
    """Natural log."""
    log_prob: float
    """Of the whole sequence."""
    score: float
    """log_prob / penalty(number of tokens), by which hypotheses are ranked."""
    finished: bool
    """False where the filters left no way to EOS: then this is as far as it came."""


@dataclass(frozen=True)
class _Beam:
    """The sentences that are not done, `width` open sequences each."""

    sentences: Int[Tensor, " sentences"]
    """Their numbers in the search's input."""
    tokens: Int[Tensor, "sentences width length"]
    """BOS first."""
    log_probs: Float[Tensor, "sentences width length"]
    """Of each token; 0 for BOS."""
    totals: Float[Tensor, "sentences width"]
    """Of each sequence; minus infinity for a place that is not in use."""
    ended: Int[Tensor, " sentences"]
    """How many hypotheses have ended."""
    kept: Float[Tensor, "sentences n_best"]
    """Scores of the best that have ended, best first; minus infinity where there are fewer."""

    def select(self, sentences: Int[Tensor, " kept"]) -> "_Beam":
        """Keeps these sentences."""
        names = ("sentences", "tokens", "log_probs", "totals", "ended", "kept")
        return _Beam(**{name: getattr(self, name).index_select(0, sentences) for name in names})

    def hypothesis(self, sentence: int, place: int, penalty: Penalty, finished: bool) -> Hypothesis:
        """One of the sequences."""
        tokens = tuple(self.tokens[sentence, place, 1:].tolist())
        total = float(self.totals[sentence, place])
        return Hypothesis(
            tokens,
            tuple(self.log_probs[sentence, place, 1:].tolist()),
            total,
            total / penalty(max(1, len(tokens))),
            finished,
        )


def search(
    step: Step[S],
    state: S,
    *,
    bos: int,
    eos: int,
    max_lengths: Int[Tensor, " sentences"],
    chooser: Chooser,
    penalty: Penalty,
    filters: Sequence[Filter] = (),
    n_best: int = 1,
) -> list[list[Hypothesis]]:
    """The best hypotheses of each sentence, best first: up to `n_best`, at least one.

    `state` holds `chooser.width` sequences for each of the sentences. A hypothesis has at most the sentence's
    `max_lengths` tokens (at least 1), EOS included, which is forced in the last place; its probability counts.
    Nothing that happens to a sentence depends on the others.
    """
    filters = (*filters, EndBy(max_lengths, eos))
    # No log-probability is above 0 and no penalty falls with length, so the longest is the most favourable.
    largest_penalty = torch.tensor([penalty(length) for length in max_lengths.tolist()], device=max_lengths.device)
    found: list[list[Hypothesis]] = [[] for _ in range(len(max_lengths))]
    beam = _start(chooser, len(max_lengths), bos, n_best, max_lengths.device)
    while True:
        log_probs, state = step(beam.tokens[:, :, -1].flatten(), state)
        candidates = _choose(log_probs, beam, filters, chooser)
        ending = (candidates.tokens == eos)[:, : chooser.width]
        ending &= candidates.totals[:, : chooser.width] > -torch.inf
        everything = _extended(beam, candidates)
        onward, parents = _onward(everything, candidates, eos, chooser.width)
        onward = _rank_ended(onward, everything, ending, penalty(everything.tokens.size(2) - 1))
        best_possible = onward.totals.amax(1) / largest_penalty[beam.sentences]
        done = chooser.enough(onward.ended, onward.kept[:, -1], best_possible) | (best_possible == -torch.inf)
        ending, done = _together(ending, done)
        for sentence, place in ending.nonzero().tolist():
            hypothesis = everything.hypothesis(sentence, place, penalty, True)
            found[int(beam.sentences[sentence])].append(hypothesis)
        if done.any():
            _add_unfinished(found, beam, done, penalty)
            if done.all():
                break
            going = (~done).nonzero().squeeze(1).to(max_lengths.device)
            onward, parents, state = onward.select(going), parents.index_select(0, going), state.select(going)
        if chooser.width > 1:
            # [sentences, width] places in the sentence → [sentences * width] places in the batch
            first = torch.arange(len(parents), device=parents.device).unsqueeze(1) * chooser.width
            state = state.reorder((first + parents).flatten())
        beam = onward
    return [sorted(each, key=lambda hypothesis: -hypothesis.score)[:n_best] for each in found]


def _start(chooser: Chooser, sentences: int, bos: int, n_best: int, device: torch.device) -> _Beam:
    totals = chooser.start(sentences).to(device)
    return _Beam(
        sentences=torch.arange(sentences, device=device),
        tokens=torch.full((*totals.shape, 1), bos, device=device),
        log_probs=torch.zeros((*totals.shape, 1), device=device),
        totals=totals,
        ended=torch.zeros(sentences, dtype=torch.int64, device=device),
        kept=torch.full((sentences, n_best), -torch.inf, device=device),
    )


def _choose(
    log_probs: Float[Tensor, "rows vocab"], beam: _Beam, filters: Sequence[Filter], chooser: Chooser
) -> Candidates:
    tokens = beam.tokens[:, :, 1:].flatten(0, 1)
    rows = beam.sentences.repeat_interleave(chooser.width)
    for each in filters:
        log_probs = each(log_probs, tokens, rows)
    # [sentences * width, vocab] → [sentences, width, vocab]
    by_sentence = log_probs.view(-1, chooser.width, log_probs.size(1))
    candidates = chooser.choose(by_sentence, beam.totals, beam.sentences, tokens.size(1))
    # What is not a number could never end: it counts as impossible.
    return replace(candidates, totals=candidates.totals.nan_to_num(nan=-torch.inf, neginf=-torch.inf))


def _extended(beam: _Beam, candidates: Candidates) -> _Beam:
    """All candidates as sequences, more of them than a beam is wide."""
    history = candidates.parents.unsqueeze(2).expand(-1, -1, beam.tokens.size(2))
    return replace(
        beam,
        tokens=torch.cat((beam.tokens.gather(1, history), candidates.tokens.unsqueeze(2)), dim=2),
        log_probs=torch.cat((beam.log_probs.gather(1, history), candidates.log_probs.unsqueeze(2)), dim=2),
        totals=candidates.totals,
    )


def _onward(
    everything: _Beam, candidates: Candidates, eos: int, width: int
) -> tuple[_Beam, Int[Tensor, "sentences width"]]:
    """The best sequences that have not ended, and which of the old ones each continues."""
    open_totals = candidates.totals.masked_fill(candidates.tokens == eos, -torch.inf)
    totals, places = open_totals.sort(dim=1, descending=True, stable=True)
    places = places[:, :width]
    history = places.unsqueeze(2).expand(-1, -1, everything.tokens.size(2))
    onward = replace(
        everything,
        tokens=everything.tokens.gather(1, history),
        log_probs=everything.log_probs.gather(1, history),
        totals=totals[:, :width],
    )
    return onward, candidates.parents.gather(1, places)


def _rank_ended(onward: _Beam, everything: _Beam, ending: Bool[Tensor, "sentences width"], penalty: float) -> _Beam:
    scores = (everything.totals[:, : ending.size(1)] / penalty).masked_fill(~ending, -torch.inf)
    kept = torch.cat((onward.kept, scores), dim=1).topk(onward.kept.size(1)).values
    return replace(onward, ended=onward.ended + ending.sum(1), kept=kept)


def _together(
    ending: Bool[Tensor, "sentences width"], done: Bool[Tensor, " sentences"]
) -> tuple[Bool[Tensor, "sentences width"], Bool[Tensor, " sentences"]]:
    """Both on the CPU, by one transfer: all that a step has to wait for."""
    flags = torch.cat((ending, done.unsqueeze(1)), dim=1).cpu()
    return flags[:, :-1], flags[:, -1]


def _add_unfinished(
    found: list[list[Hypothesis]], beam: _Beam, done: Bool[Tensor, " sentences"], penalty: Penalty
) -> None:
    """A sentence whose every sequence came to a dead end still gets its best one."""
    for sentence in done.nonzero().squeeze(1).tolist():
        hypotheses = found[int(beam.sentences[sentence])]
        if not hypotheses:
            best = int(beam.totals[sentence].argmax())
            hypotheses.append(beam.hypothesis(sentence, best, penalty, False))
