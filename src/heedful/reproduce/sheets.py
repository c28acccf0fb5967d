"""Tables of an experiment, for a terminal and for Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from heedful.evaluation.tables import columns


@dataclass(frozen=True)
class Sheet:
    """A title, a line under it that says what the numbers are, and rows, the first one the header."""

    title: str
    note: str
    rows: Sequence[Sequence[str]]


def plain(sheets: Sequence[Sheet]) -> str:
    """Aligned columns."""
    return "\n\n".join("\n".join([each.title, each.note, "", *columns(each.rows)]) for each in sheets)


def markdown(sheets: Sequence[Sheet]) -> str:
    """Headings and tables."""
    return "\n".join(f"## {each.title}\n\n{_escaped(each.note)}\n\n{_grid(each.rows)}\n" for each in sheets)


def _grid(rows: Sequence[Sequence[str]]) -> str:
    header, *rest = rows
    ruler = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(map(_escaped, row)) + " |" for row in (header, ruler, *rest))


def _escaped(text: str) -> str:
    return re.sub(r"([|*_<])", r"\\\1", text)
