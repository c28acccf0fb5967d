"""What an experiment leaves: tables, numbers, a picture, and a sentence computed from the numbers."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from heedful.checkpoint import write_file
from heedful.reproduce.sheets import Sheet, markdown

Line = Sequence[str | int | float]


@dataclass(frozen=True)
class Finding:
    """Of one experiment."""

    sheets: Sequence[Sheet]
    numbers: Sequence[Line]
    """Lines of the CSV, the header first."""
    seen: str
    draw: Callable[[Path], None]
    """Writes the picture, as PNG."""


def write(finding: Finding, directory: Path, name: str, claim: str, machine: str) -> None:
    """NAME.md, NAME.csv and NAME.png."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [f"{value:.6g}" if isinstance(value, float) else value for value in line] for line in finding.numbers
    )
    write_file(directory / f"{name}.csv", text.getvalue().encode())
    finding.draw(directory / f"{name}.png")
    body = f"The lecture: {claim}\n\n![{name}]({name}.png)\n\nSeen: {finding.seen}\n"
    write_file(
        directory / f"{name}.md", f"# {name.capitalize()}\n\n{body}\n{markdown(finding.sheets)}\n{machine}\n".encode()
    )


def three(value: float) -> str:
    """Three digits, a power of ten only where nothing else can tell them."""
    return f"{value:,.0f}" if 99.5 <= abs(value) < 1e6 else f"{value:.3g}"


def mean(values: Sequence[float]) -> float:
    """Over seeds."""
    return sum(values) / len(values)
