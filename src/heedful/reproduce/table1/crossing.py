"""Where one layer begins to cost less than another."""

import math
from collections.abc import Sequence

Spans = list[tuple[float, float]]
"""Ranges of n, in order; one that reaches an end of what was measured ends in 0 or infinity."""


def cheaper(lengths: Sequence[int], ours: Sequence[float], theirs: Sequence[float]) -> Spans:
    """Where `ours` is less; between two lengths, where straight lines on logarithmic axes meet."""
    spans: Spans = []
    start: float | None = 0.0 if ours[0] < theirs[0] else None
    gaps = [math.log(one / other) for one, other in zip(ours, theirs, strict=True)]
    for left, right, before, after in zip(lengths, lengths[1:], gaps, gaps[1:], strict=False):
        if (before < 0) == (after < 0):
            continue
        meeting = left * (right / left) ** (before / (before - after))
        if start is None:
            start = meeting
        else:
            spans.append((start, meeting))
            start = None
    return spans if start is None else [*spans, (start, math.inf)]


def told(spans: Spans) -> str:
    """For people: `n < 300`, `always`, `never`."""
    if not spans:
        return "never"
    return ", ".join(_told(*span) for span in spans)


def _told(start: float, end: float) -> str:
    if start == 0:
        return "always" if math.isinf(end) else f"n < {end:,.0f}"
    return f"n > {start:,.0f}" if math.isinf(end) else f"{start:,.0f} < n < {end:,.0f}"
