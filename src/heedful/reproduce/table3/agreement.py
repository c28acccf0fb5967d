"""Do two experiments order the same things alike, and how surely? Imports no torch."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]

_SAMPLES, _SEED = 2000, 1
FEWEST = 3
"""Rows that have an order to speak of."""
_SURE = 0.95
"""Share of the draws in which a pair has to stand the same way round."""


@dataclass(frozen=True)
class Correlation:
    """Kendall's τ_b of means, and its 95 % bootstrap interval."""

    tau: float
    low: float
    high: float


@dataclass(frozen=True)
class Pairs:
    """Of those that the paper tells apart."""

    told: int
    agree: int
    several: int
    """Of those that agree, how many have several seeds on both sides."""
    sure: int
    """Of these, how many agree in nearly every draw of seeds."""


def kendall(x: Values, y: Values) -> float:
    """τ_b (Kendall 1945): over all pairs, the mean product of signs, ties left out of either side's count; else NaN."""
    rows, columns = np.triu_indices(len(x), 1)
    first, second = np.sign(x[rows] - x[columns]), np.sign(y[rows] - y[columns])
    untied = float(np.abs(first).sum()) * float(np.abs(second).sum())
    return float((first * second).sum()) / untied**0.5 if untied else float("nan")


def correlation(paper: Sequence[float], ours: Sequence[Sequence[float]]) -> Correlation | None:
    """Between the paper's values and the means of ours over seeds; rows are drawn anew, and the seeds of each.

    None of fewer than `FEWEST` rows, and where all are equal.
    """
    theirs = np.array(paper)
    tau = kendall(theirs, _means(ours)) if len(paper) >= FEWEST else float("nan")
    if np.isnan(tau):
        return None
    generator = np.random.default_rng(_SEED)
    drawn = []
    for _ in range(_SAMPLES):
        rows = generator.integers(len(paper), size=len(paper))
        drawn.append(kendall(theirs[rows], _drawn(generator, [ours[row] for row in rows])))
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Correlation(tau, float(low), float(high))


def pairs(paper: Mapping[str, float], ours: Mapping[str, Sequence[float]]) -> Pairs:
    """Of any two names whose values differ in the paper: is the same one of them higher here?"""
    names = list(paper)
    generator = np.random.default_rng(_SEED)
    seeds = [ours[name] for name in names]
    means = _means(seeds)
    draws = np.stack([_drawn(generator, seeds) for _ in range(_SAMPLES)])
    told = agree = several = sure = 0
    for one, other in itertools.combinations(range(len(names)), 2):
        sign = np.sign(paper[names[one]] - paper[names[other]])
        if sign == 0:
            continue
        told += 1
        if np.sign(means[one] - means[other]) == sign:
            agree += 1
            if min(len(seeds[one]), len(seeds[other])) == 1:
                continue
            several += 1
            sure += bool(np.mean(np.sign(draws[:, one] - draws[:, other]) == sign) >= _SURE)
    return Pairs(told, agree, several, sure)


def _means(ours: Sequence[Sequence[float]]) -> Values:
    return np.array([np.mean(values) for values in ours])


def _drawn(generator: np.random.Generator, ours: Sequence[Sequence[float]]) -> Values:
    """Means over as many seeds as each has, drawn with replacement."""
    return np.array([np.mean(generator.choice(values, len(values))) for values in ours])
