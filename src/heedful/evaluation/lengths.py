"""Scores by source length, since length is where the fixed-length bottleneck shows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from heedful.errors import HeedfulError
from heedful.evaluation.bleu import UNSPACED_TOKENIZERS, check_parallel, primary_language

Unit = Literal["words", "characters"]

UPPER_ENDS: dict[Unit, tuple[int, ...]] = {
    "words": (0, 5, 10, 15, 20, 30),
    "characters": (0, 10, 20, 30, 40, 60),
}
"""Longest source of every group but the last, which is open. Blank lines are a group of their own."""


@dataclass(frozen=True)
class LengthScore:
    """The score of the sentences whose source has `shortest` to `longest` units."""

    unit: Unit
    shortest: int
    longest: int | None
    """None: no upper end."""
    sentences: int
    score: float

    @property
    def label(self) -> str:
        """`6-10`, `31+`, `0`."""
        if self.longest is None:
            return f"{self.shortest}+"
        return f"{self.shortest}-{self.longest}" if self.shortest < self.longest else f"{self.shortest}"


def score_by_length(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    metric: Callable[[list[str], list[str]], float],
    unit: Unit = "words",
    upper_ends: Sequence[int] | None = None,
) -> list[LengthScore]:
    """`metric(hypotheses, references)` of each group of source lengths that has sentences, shortest first.

    `upper_ends` rises and replaces `UPPER_ENDS[unit]`. Raises HeedfulError where the three are not parallel.
    """
    check_parallel(hypotheses, references)
    if len(sources) != len(references):
        raise HeedfulError(
            f"{len(sources)} sources but {len(references)} references: give one source for every reference"
        )
    ends = [-1, *(UPPER_ENDS[unit] if upper_ends is None else upper_ends), None]
    lengths = [source_length(source, unit) for source in sources]
    scores = []
    for below, longest in pairwise(ends):
        shortest = (below or 0) + 1
        rows = [
            row for row, length in enumerate(lengths) if shortest <= length and (longest is None or length <= longest)
        ]
        if rows:
            score = metric([hypotheses[row] for row in rows], [references[row] for row in rows])
            scores.append(LengthScore(unit, shortest, longest, len(rows), score))
    return scores


def length_unit(language: str | None) -> Unit:
    """Characters for a language written without spaces, words for every other."""
    return "characters" if primary_language(language) in UNSPACED_TOKENIZERS else "words"


def source_length(source: str, unit: Unit) -> int:
    """Whitespace words, or characters without the whitespace around them."""
    return len(source.split()) if unit == "words" else len(source.strip())
