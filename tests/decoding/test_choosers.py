"""Ties of the top k, and draws against the distribution they are drawn from."""

import pytest
import torch
from torch import Tensor

from heedful.decoding.choosers import Sampling, draw_uniforms, most_likely
from heedful.decoding.penalty import PENALTIES
from heedful.decoding.search import Hypothesis, search

from .conftest import BOS, EOS, History, step

LOG_PROBS = torch.tensor([0.05, 0.3, 0.02, 0.25, 0.08, 0.2, 0.1]).log()


@pytest.mark.parametrize("count", [1, 2, 5, 11, 13, 17])
@pytest.mark.parametrize("levels", [1, 2, 3, 1000])
def test_most_likely_is_a_stable_sort(count: int, levels: int) -> None:
    generator = torch.Generator().manual_seed(count)
    scores = -torch.randint(levels, (23, 13), generator=generator).float()
    scores[3] = -torch.inf
    scores[5, 2:] = -torch.inf
    expected = scores.sort(dim=1, descending=True, stable=True)
    values, tokens = most_likely(scores.clone(), count)
    assert torch.equal(values, expected.values[:, :count])
    real = values > -torch.inf
    assert torch.equal(tokens[real], expected.indices[:, :count][real])


def sample(count: int, **options: float) -> Tensor:
    """How often each token is drawn first, for two sequences a sentence."""
    chooser = Sampling(draw_uniforms(3, range(count // 2), 2, 2), **options)  # type: ignore[arg-type]
    totals = chooser.start(count // 2)
    log_probs = LOG_PROBS.expand(*totals.shape, -1)
    chosen = chooser.choose(log_probs.clone(), totals, torch.arange(count // 2), 1)
    assert torch.equal(chosen.totals, LOG_PROBS[chosen.tokens])
    assert torch.equal(chosen.log_probs, chosen.totals)
    assert chosen.parents.tolist() == [[0, 1]] * (count // 2)
    return chosen.tokens.flatten().bincount(minlength=len(LOG_PROBS)).double()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_follow_the_distribution(temperature: float) -> None:
    count = 20_000
    expected = count * (LOG_PROBS.double() / temperature).softmax(0)
    chi_square = ((sample(count, temperature=temperature) - expected) ** 2 / expected).sum()
    assert chi_square < 22.46  # 6 degrees of freedom, p = 0.001


def test_draws_of_top_k_and_top_p_follow_the_distribution_that_remains() -> None:
    count = 20_000
    left = torch.tensor([1, 3, 5])
    for options in ({"top_k": 3}, {"top_p": 0.75}, {"top_k": 5, "top_p": 0.75 / 0.93}):
        drawn = sample(count, **options)
        assert drawn[left].sum() == count
        expected = count * LOG_PROBS.double().exp()[left] / 0.75
        assert ((drawn[left] - expected) ** 2 / expected).sum() < 13.82  # 2 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"top_k": 1}, {1}),
        ({"top_k": 4}, {1, 3, 5, 6}),
        ({"top_k": 100}, {0, 1, 2, 3, 4, 5, 6}),
        ({"top_p": 0.01}, {1}),
        ({"top_p": 0.31}, {1, 3}),
        ({"top_p": 0.54}, {1, 3}),
        ({"top_p": 0.56}, {1, 3, 5}),
        ({"top_p": 1.0}, {0, 1, 2, 3, 4, 5, 6}),
        # Temperature comes first: at 0.2 the two likeliest have 0.713 and 0.287 · … of what is left.
        ({"top_p": 0.6, "temperature": 0.2}, {1}),
    ],
)
def test_sets_of_top_k_and_top_p(options: dict[str, float], expected: set[int]) -> None:
    drawn = sample(4_000, **options)
    assert set(drawn.nonzero().flatten().tolist()) == expected


def test_of_equal_probabilities_top_k_keeps_the_lower_tokens() -> None:
    chooser = Sampling(draw_uniforms(3, range(97), 1, 1), top_k=3)
    chosen = chooser.choose(torch.full((97, 1, 11), -2.0), chooser.start(97), torch.arange(97), 0)
    assert set(chosen.tokens.flatten().tolist()) == {0, 1, 2}


def sequences(sentences: int, width: int, seed: int, n_best: int | None = None) -> list[list[Hypothesis]]:
    return search(
        step,
        History.start(sentences, width),
        bos=BOS,
        eos=EOS,
        max_lengths=torch.full((sentences,), 7),
        chooser=Sampling(draw_uniforms(seed, range(sentences), width, 7)),
        penalty=PENALTIES["paper"](0.6),
        n_best=n_best or width,
    )


def test_whole_samples_have_the_probabilities_of_the_tokens_they_hold() -> None:
    for found in sequences(13, 5, 1):
        assert len(found) == 5
        for each in found:
            assert each.finished
            assert sum(each.token_log_probs) == pytest.approx(each.log_prob, abs=1e-5)


def test_no_sample_is_left_unfinished_because_another_is_good() -> None:
    for [best], found in zip(sequences(97, 3, 1, n_best=1), sequences(97, 3, 1), strict=True):
        assert best == found[0]


def test_samples_of_whole_sequences_follow_their_distribution() -> None:
    """The probability of an empty sequence is that of EOS at once; the others' sum is one minus it."""
    from .conftest import next_log_probs

    width = 5_000
    [found] = sequences(1, width, 11)
    probability = float(next_log_probs(0, (BOS,))[EOS].exp())
    empty = sum(each.tokens == (EOS,) for each in found)
    spread = (width * probability * (1 - probability)) ** 0.5
    assert abs(empty - width * probability) < 4 * spread


def test_a_seed_makes_the_draws_whatever_is_drawn_beside_them() -> None:
    draws = draw_uniforms(5, [3, 8, 13], 2, 7)
    assert torch.equal(draws, draw_uniforms(5, [3, 8, 13], 2, 7))
    assert torch.equal(draws[1:2, :1, :3], draw_uniforms(5, [8], 1, 3))
    assert not torch.equal(draws, draw_uniforms(6, [3, 8, 13], 2, 7))
    assert len(draws.unique()) == draws.numel()
