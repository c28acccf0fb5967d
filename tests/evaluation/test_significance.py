"""The paired tests against sacreBLEU's own, and against all outcomes counted where there are few."""

import itertools
import random

import numpy as np
import pytest
from sacrebleu.significance import PairedTest

from heedful.evaluation.bleu import bleu_metric, chrf_metric
from heedful.evaluation.significance import paired_difference, score, sentence_statistics

VOCABULARY = [f"w{number}" for number in range(29)]


def sentences(count, seed):
    generator = random.Random(seed)
    return [" ".join(generator.choices(VOCABULARY, k=generator.randint(5, 17))) for _ in range(count)]


def noisy(texts, share, seed):
    generator = random.Random(seed)
    return [
        " ".join(generator.choice(VOCABULARY) if generator.random() < share else word for word in text.split())
        for text in texts
    ]


def difference(metric, a, b, references, samples=199, seed=12345):
    statistics = [sentence_statistics(metric, hypotheses, references) for hypotheses in (a, b)]
    return paired_difference(metric, *statistics, samples, seed)


@pytest.mark.parametrize("metric", [bleu_metric, chrf_metric])
def test_p_values_and_intervals_are_those_of_sacrebleu(metric, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    references = sentences(101, seed=1)
    a, b = noisy(references, 0.20, seed=2), noisy(references, 0.20, seed=7)
    ours = difference(metric(), a, b, references, samples=499)
    results = {}
    for kind in ("bs", "ar"):
        _, scores = PairedTest([("a", a), ("b", b)], {"m": metric()}, [references], kind, 499)()
        results[kind] = next(value for name, value in scores.items() if name != "System")
    (theirs_a, theirs_b), (_, swapped) = results["bs"], results["ar"]
    assert (ours.a, ours.b) == (theirs_a.score, theirs_b.score)
    assert ours.interval_a == pytest.approx(theirs_a.ci, rel=1e-4)  # sacreBLEU's sums are float32
    assert ours.interval_b == pytest.approx(theirs_b.ci, rel=1e-4)
    assert 0.01 < ours.bootstrap_p == theirs_b.p_value
    assert 0.01 < ours.randomization_p == swapped.p_value


@pytest.mark.parametrize("metric", [bleu_metric, chrf_metric])
def test_a_system_does_not_differ_from_itself(metric):
    references = sentences(31, seed=4)
    a = noisy(references, 0.3, seed=5)
    result = difference(metric(), a, list(a), references)
    assert (result.difference, result.bootstrap_p, result.randomization_p) == (0.0, 1.0, 1.0)


def test_empty_translations_have_a_result():
    references = sentences(7, seed=6)
    result = difference(bleu_metric(), [""] * 7, [""] * 7, references)
    assert (result.a, result.b, result.bootstrap_p, result.randomization_p) == (0.0, 0.0, 1.0, 1.0)


def test_one_line_is_no_evidence():
    references = sentences(101, seed=7)
    a = noisy(references, 0.2, seed=8)
    b = list(a)
    b[41] = references[41]
    result = difference(bleu_metric(), a, b, references)
    assert result.difference > 0
    assert result.randomization_p == 1.0
    assert result.bootstrap_p > 0.05


def test_randomisation_against_all_swaps():
    references = sentences(11, seed=9)
    a = noisy(references, 0.3, seed=10)
    b = a[:6] + noisy(references, 0.1, seed=11)[6:]
    metric = chrf_metric()
    statistics_a, statistics_b = (sentence_statistics(metric, texts, references) for texts in (a, b))

    def distance(swap):
        swap = np.array([*[False] * 6, *swap])[:, None]
        swapped_a = np.where(swap, statistics_b, statistics_a).sum(0)
        swapped_b = np.where(swap, statistics_a, statistics_b).sum(0)
        return abs(score(metric, swapped_a) - score(metric, swapped_b))

    observed = distance([False] * 5)
    exact = np.mean([distance(swap) >= observed - 1e-9 for swap in itertools.product([False, True], repeat=5)])
    sampled = paired_difference(metric, statistics_a, statistics_b, samples=2003).randomization_p
    assert 0 < exact < 1
    assert sampled == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 2003) ** 0.5)


def test_a_great_difference_has_the_smallest_p_value():
    references = sentences(53, seed=12)
    result = difference(bleu_metric(), noisy(references, 0.6, seed=13), references, references, samples=199)
    assert result.b == pytest.approx(100)
    assert result.difference == result.b - result.a
    assert result.bootstrap_p == result.randomization_p == pytest.approx(1 / 200)


def test_the_seed_decides():
    references = sentences(53, seed=14)
    a, b = noisy(references, 0.2, seed=15), noisy(references, 0.22, seed=16)
    first = difference(chrf_metric(), a, b, references, seed=1)
    assert first == difference(chrf_metric(), a, b, references, seed=1)
    assert first != difference(chrf_metric(), a, b, references, seed=2)
