"""Length penalties: what a hypothesis's log-probability is divided by, so that more tokens are no disadvantage."""

from collections.abc import Callable, Mapping

Penalty = Callable[[int], float]
"""penalty(n) of a hypothesis of n tokens, EOS included: above 0, and never less for a longer one."""


def paper(alpha: float) -> Penalty:
    """((5 + n) / 6)^α: Section 6.1, after Wu et al. 2016, equation 14."""
    return lambda n: float(((5 + n) / 6) ** alpha)


def length(alpha: float) -> Penalty:
    """n^α: at α = 1 the mean log-probability of a token."""
    return lambda n: float(n**alpha)


def none(_alpha: float) -> Penalty:
    """1: the log-probability itself."""
    return lambda _n: 1.0


PENALTIES: Mapping[str, Callable[[float], Penalty]] = {"paper": paper, "length": length, "none": none}
"""By the names of `SearchConfig.length_penalty_kind`; called with α."""
