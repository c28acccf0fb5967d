"""Length penalties by the formulas, and where they matter."""

import pytest

from heedful.decoding.config import SearchConfig
from heedful.decoding.penalty import PENALTIES


@pytest.mark.parametrize(
    ("kind", "alpha", "length", "expected"),
    [
        ("paper", 0.6, 1, 1.0),
        ("paper", 0.6, 7, 2**0.6),
        ("paper", 1.0, 13, 3.0),
        ("paper", 0.0, 13, 1.0),
        ("length", 1.0, 13, 13.0),
        ("length", 0.5, 49, 7.0),
        ("none", 0.6, 13, 1.0),
    ],
)
def test_values(kind: str, alpha: float, length: int, expected: float) -> None:
    assert PENALTIES[kind](alpha)(length) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", PENALTIES)
def test_a_penalty_never_falls_with_length(kind: str) -> None:
    penalty = PENALTIES[kind](0.6)
    values = [penalty(length) for length in range(1, 1100)]
    assert values == sorted(values)
    assert values[0] > 0


def test_the_papers_search_is_the_default() -> None:
    """Section 6.1: beam 4, α 0.6, at most input + 50."""
    default = SearchConfig()
    assert (default.beam_size, default.length_penalty, default.length_penalty_kind) == (4, 0.6, "paper")
    assert default.max_extra_tokens == 50
