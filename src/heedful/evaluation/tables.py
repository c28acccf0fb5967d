"""Plain text for people: aligned columns, and sentences that cannot disturb a terminal."""

import unicodedata
from collections.abc import Sequence

from rich.cells import cell_len

_LONGEST = 400
"""Characters of a sentence that are shown."""


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row; the first column to the left, the others to the right, in terminal cells."""
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) if first else " " * (width - cell_len(cell)) + cell
            for first, cell, width in zip([True] + [False] * len(row), row, widths, strict=False)
        ).rstrip()
        for row in rows
    ]


def shown(sentence: str) -> str:
    """The sentence in one line without control characters, cut where it is very long."""
    line = "".join(character for character in " ".join(sentence.split()) if unicodedata.category(character) != "Cc")
    return line if len(line) <= _LONGEST else line[:_LONGEST] + "…"
