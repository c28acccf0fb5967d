"""The loop against brute force, a rollout by hand and a beam search as one would write it for one sentence."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from heedful.decoding.choosers import BeamSearch
from heedful.decoding.filters import Ban, Filter
from heedful.decoding.penalty import PENALTIES, Penalty
from heedful.decoding.search import Hypothesis, search

from .conftest import BOS, EOS, WORDS, History, all_sequences, log_prob, next_log_probs, step

MAX_LENGTHS = [4, 1, 3, 4, 2, 4, 4]
PENALTY_CASES = [("paper", 0.6), ("paper", 2.0), ("length", 1.0), ("length", 0.3), ("none", 0.0)]


def run(
    width: int,
    penalty: Penalty,
    max_lengths: Sequence[int] = MAX_LENGTHS,
    n_best: int = 1,
    filters: Sequence[Filter] = (),
) -> list[list[Hypothesis]]:
    return search(
        step,
        History.start(len(max_lengths), width),
        bos=BOS,
        eos=EOS,
        max_lengths=torch.tensor(max_lengths),
        chooser=BeamSearch(width),
        penalty=penalty,
        filters=filters,
        n_best=n_best,
    )


@pytest.mark.parametrize(("kind", "alpha"), PENALTY_CASES)
def test_a_beam_as_wide_as_the_language_finds_its_best(kind: str, alpha: float) -> None:
    penalty = PENALTIES[kind](alpha)
    n_best = 7
    for sentence, found in enumerate(run(41, penalty, n_best=n_best)):
        scores = {
            tokens: log_prob(sentence, tokens) / penalty(len(tokens)) for tokens in all_sequences(MAX_LENGTHS[sentence])
        }
        best = sorted(scores, key=lambda tokens: -scores[tokens])[:n_best]
        assert [each.tokens for each in found] == best
        for each in found:
            assert each.finished
            assert each.score == pytest.approx(scores[each.tokens], abs=1e-6)
            assert each.log_prob == pytest.approx(log_prob(sentence, each.tokens), abs=1e-6)


@pytest.mark.parametrize(("kind", "alpha"), PENALTY_CASES)
def test_greedy_search_takes_the_likeliest_token_every_time(kind: str, alpha: float) -> None:
    lengths = [*MAX_LENGTHS, 11, 11, 11]
    for sentence, [found] in enumerate(run(1, PENALTIES[kind](alpha), lengths)):
        tokens: tuple[int, ...] = ()
        while not tokens or tokens[-1] != EOS:
            last = len(tokens) + 1 == lengths[sentence]
            tokens += (EOS if last else int(next_log_probs(sentence, (BOS, *tokens)).argmax()),)
        assert found.tokens == tokens


@pytest.mark.parametrize(("kind", "alpha"), PENALTY_CASES)
@pytest.mark.parametrize("width", [2, 3, 5])
def test_a_batch_is_searched_as_each_sentence_would_be_alone(kind: str, alpha: float, width: int) -> None:
    penalty = PENALTIES[kind](alpha)
    lengths = [*MAX_LENGTHS, *[7, 11] * 11]
    for n_best in (1, width):
        found = run(width, penalty, lengths, n_best)
        for sentence, length in enumerate(lengths):
            expected = plain_beam_search(sentence, length, width, penalty)[:n_best]
            assert [each.tokens for each in found[sentence]] == [tokens for _, tokens in expected]
            assert [each.score for each in found[sentence]] == pytest.approx([score for score, _ in expected], abs=1e-6)


def plain_beam_search(sentence: int, length: int, width: int, penalty: Penalty) -> list[tuple[float, tuple[int, ...]]]:
    """No batch, no early end but the one by number."""
    beam: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    ended = []
    for n in range(1, length + 1):
        ranked = sorted(
            (
                (total + float(next_log_probs(sentence, (BOS, *tokens))[token]), (*tokens, token))
                for total, tokens in beam
                for token in ((EOS,) if n == length else (EOS, *WORDS))
            ),
            reverse=True,
        )
        ended += [(total / penalty(n), tokens) for total, tokens in ranked[:width] if tokens[-1] == EOS]
        beam = [(total, tokens) for total, tokens in ranked if tokens[-1] != EOS][:width]
        if len(ended) >= width:
            break
    return sorted(ended, reverse=True)


def test_n_best_are_distinct_sorted_and_the_first_is_the_best_alone() -> None:
    penalty = PENALTIES["paper"](0.6)
    several, alone = run(5, penalty, [7] * 11, n_best=5), run(5, penalty, [7] * 11)
    for found, [best] in zip(several, alone, strict=True):
        assert found[0] == best
        assert len({each.tokens for each in found}) == 5
        assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)


def test_token_log_probabilities_add_up() -> None:
    for found in run(3, PENALTIES["paper"](0.6), n_best=3):
        for each in found:
            assert len(each.token_log_probs) == len(each.tokens)
            assert sum(each.token_log_probs) == pytest.approx(each.log_prob, abs=1e-6)
            assert each.tokens[-1] == EOS
            assert BOS not in each.tokens


def test_the_last_place_is_eos_with_its_own_probability() -> None:
    [[found]] = run(1, PENALTIES["none"](0.0), [1])
    assert found.tokens == (EOS,)
    assert found.log_prob == pytest.approx(float(next_log_probs(0, (BOS,))[EOS]), abs=1e-6)


def uniform(tokens: Tensor, state: History) -> tuple[Tensor, History]:
    """Nothing but ties."""
    return torch.full((len(tokens), 97), -1.0), state


@pytest.mark.parametrize("width", [1, 2, 5])
def test_ties_go_to_the_lower_token(width: int) -> None:
    found = search(
        uniform,
        History.start(3, width),
        bos=BOS,
        eos=EOS,
        max_lengths=torch.tensor([5, 5, 5]),
        chooser=BeamSearch(width),
        penalty=PENALTIES["length"](1.0),
        filters=[Ban([BOS])],
        n_best=width,
    )
    # Every sequence scores -1. EOS is the lowest token left, 2 the next; the first parent goes before the others.
    expected = [(*[2] * words, EOS) for words in range(width)]
    for hypotheses in found:
        assert [each.tokens for each in hypotheses] == expected


@pytest.mark.parametrize(("penalty", "steps"), [(PENALTIES["none"](0.0), 1), (PENALTIES["length"](1.0), 3)])
def test_a_search_ends_once_nothing_open_can_be_better(penalty: Penalty, steps: int) -> None:
    """EOS at once scores −1; what is open after n steps has −4 n, and could be divided by at most 11."""
    calls = 0

    def sure_of_the_end(tokens: Tensor, state: History) -> tuple[Tensor, History]:
        nonlocal calls
        calls += 1
        return torch.tensor([-9.0, -1.0, -4.0, -4.0, -4.0]).expand(len(tokens), -1).clone(), state

    [[found]] = search(
        sure_of_the_end,
        History.start(1, 23),
        bos=BOS,
        eos=EOS,
        max_lengths=torch.tensor([11]),
        chooser=BeamSearch(23),
        penalty=penalty,
    )
    assert (found.tokens, found.score, calls) == ((EOS,), -1.0, steps)


@pytest.mark.parametrize("width", [1, 3])
@pytest.mark.parametrize("impossible", [-torch.inf, torch.nan])
def test_a_dead_end_gives_what_there_is(width: int, impossible: float) -> None:
    def dead_after_two(log_probs: Tensor, tokens: Tensor, sentences: Tensor) -> Tensor:
        if tokens.size(1) == 2:
            log_probs[sentences == 1] = impossible
        return log_probs

    def not_before_the_end(log_probs: Tensor, tokens: Tensor, sentences: Tensor) -> Tensor:
        return Ban([EOS])(log_probs, tokens, sentences) if tokens.size(1) < 3 else log_probs

    found = run(width, PENALTIES["length"](1.0), [4, 4, 4], filters=[not_before_the_end, dead_after_two])
    assert [each.finished for [each] in found] == [True, False, True]
    assert len(found[1][0].tokens) == 2
    assert EOS not in found[1][0].tokens
    assert len(found[0][0].tokens) == 4


def test_nothing_possible_at_all_is_an_empty_hypothesis() -> None:
    [[found]] = run(2, PENALTIES["length"](1.0), [3], filters=[lambda log_probs, *_: log_probs.fill_(-torch.inf)])
    assert found == Hypothesis((), (), 0.0, 0.0, False)
