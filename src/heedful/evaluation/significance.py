"""Is the difference between two systems chance? Two paired tests on sacreBLEU's sentence statistics.

The resampling, its seed and the p-values are those of `sacrebleu --paired-bs` and `--paired-ar`, with one
exception: a resample that differs exactly as much as the systems do counts as evidence for chance, as the tests'
authors define it. sacreBLEU counts only larger ones, so that two identical systems, or two that differ in a
single line, come out as different with p = 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

SEED = 12345
"""sacreBLEU's."""
_TIE = 1e-9
"""Scores, of 100, that differ by less are equal."""

Statistics = npt.NDArray[np.float64]
"""[sentences, statistics], or [statistics] summed over sentences: n-gram matches, counts and lengths."""


@dataclass(frozen=True)
class Difference:
    """Two systems under one metric."""

    a: float
    b: float
    difference: float
    """b - a."""
    interval_a: float
    """Half width of a's 95 % bootstrap confidence interval."""
    interval_b: float
    bootstrap_p: float
    """Two-sided, paired bootstrap (Koehn 2004)."""
    randomization_p: float
    """Two-sided, approximate randomisation (Riezler and Maxwell 2005)."""
    signature: str


def sentence_statistics(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Statistics:
    """What `metric` counts in each sentence: [sentences, statistics]."""
    return np.array(metric._extract_corpus_statistics(hypotheses, [references]), dtype=np.float64)


def score(metric: Metric, statistics: Statistics) -> float:
    """The score, 0 to 100, of statistics [statistics] of one sentence or summed over many."""
    return float(metric._compute_score_from_stats(statistics.tolist()).score)


def paired_difference(
    metric: Metric, a: Statistics, b: Statistics, samples: int = 1000, seed: int = SEED
) -> Difference:
    """Both tests on the statistics [sentences, statistics] of two systems for the same sentences.

    The smallest p-value possible is 1 / (samples + 1).
    """
    score_a, score_b = score(metric, a.sum(0)), score(metric, b.sum(0))
    observed = abs(score_b - score_a)
    resampled_a, resampled_b = _bootstrap(metric, a, b, samples, seed)
    distances = np.abs(resampled_b - resampled_a)
    return Difference(
        a=score_a,
        b=score_b,
        difference=score_b - score_a,
        interval_a=_half_interval(resampled_a),
        interval_b=_half_interval(resampled_b),
        # centred, the resamples show how far two equal systems would lie apart
        bootstrap_p=_p_value(distances - distances.mean(), observed),
        randomization_p=_p_value(_randomize(metric, a, b, samples, seed), observed),
        signature=str(metric.get_signature()),
    )


def _bootstrap(
    metric: Metric, a: Statistics, b: Statistics, samples: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Scores [samples] of both systems on test sets drawn from this one with replacement."""
    generator = np.random.default_rng(seed)
    scores = np.empty((2, samples))
    for sample in range(samples):
        drawn = np.bincount(generator.choice(len(a), size=len(a)), minlength=len(a)).astype(np.float64)
        scores[:, sample] = score(metric, drawn @ a), score(metric, drawn @ b)
    return scores[0], scores[1]


def _randomize(metric: Metric, a: Statistics, b: Statistics, samples: int, seed: int) -> npt.NDArray[np.float64]:
    """Distances [samples] between the systems after each sentence's two outputs swapped sides or did not."""
    generator = np.random.default_rng(seed)
    swaps = generator.integers(2, size=(samples, len(a)), dtype=bool)
    total_a, total_b, gap = a.sum(0), b.sum(0), b - a
    distances = np.empty(samples)
    for sample, swap in enumerate(swaps):
        moved = swap @ gap
        distances[sample] = abs(score(metric, total_b - moved) - score(metric, total_a + moved))
    return distances


def _p_value(distances: npt.NDArray[np.float64], observed: float) -> float:
    # + 1: what was observed is itself one of the outcomes
    return (int(np.sum(distances >= observed - _TIE)) + 1) / (len(distances) + 1)


def _half_interval(scores: npt.NDArray[np.float64]) -> float:
    ordered = np.sort(scores)
    tail = len(ordered) // 40
    return float(ordered[len(ordered) - tail - 1] - ordered[tail]) / 2
