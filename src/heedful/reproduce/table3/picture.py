"""Table 3 drawn: how far each row lies from base, here and in the paper."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from heedful.recipes.table3 import BASE
from heedful.reproduce.panels import COLOURS, INK, LINE, MUTED, frame, legend, page
from heedful.reproduce.table3.table import BLEU, PERPLEXITY, Line, Metric, Table

_PAPER, _OURS = "#9a958c", COLOURS[0]


def save_picture(path: Path, table: Table) -> None:
    """A panel for each metric, better to the right. Base has to be among the lines."""
    with page(path, 12.5, 2.2 + 0.32 * len(table.lines), _title(table)) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        _differences(left, table, PERPLEXITY, "perplexity, % below base's", lambda x, base: 100 * (1 - x / base))
        _differences(right, table, BLEU, "BLEU above base's", lambda x, base: x - base)
        legend(figure, left, 3)


def _title(table: Table) -> str:
    return f"Table 3, profile {table.profile.name}, differences from base\n{table.machine}"


def _differences(panel: Any, table: Table, metric: Metric, title: str, apart: Callable[[float, float], float]) -> None:
    """One line of dots for each row, the first row on top."""
    [base] = [line for line in table.lines if line.row.name == BASE]
    theirs, ours = metric.paper(base.row), base.mean(metric)
    for place, line in enumerate(table.lines):
        dots = {"zorder": 3, "linestyle": "none"}
        paper = apart(metric.paper(line.row), theirs)
        mean = apart(line.mean(metric), ours)
        panel.plot([paper, mean], [place, place], color=LINE, linewidth=2.5, zorder=2)
        once = {} if place else {"label": "one seed"}
        values = [apart(value, ours) for value in line.values(metric)]
        if table.seeds[1] > 1:
            panel.plot(values, [place] * len(values), marker="|", markersize=9, color=_OURS, alpha=0.6, **dots, **once)
        panel.plot(
            *([paper], [place]),
            **{"marker": "D", "markersize": 6.5, "markerfacecolor": "white", "color": _PAPER, "markeredgewidth": 1.8},
            **dots | ({} if place else {"label": "paper"}),
        )
        here = {} if place else {"label": "here"}
        panel.plot([mean], [place], marker="o", markersize=7, color=_OURS, **dots, **here)
    _grouped(panel, table.lines)
    frame(panel, _with_tau(table, metric, title))
    panel.axvline(0, color=MUTED, linewidth=1, zorder=1)
    panel.set_yticks(range(len(table.lines)), [f"{each.row.name}   {_short(each)}" for each in table.lines], color=INK)
    panel.set_ylim(len(table.lines) - 0.5, -0.5)


def _with_tau(table: Table, metric: Metric, title: str) -> str:
    found = table.correlation(metric)
    return title if found is None else f"{title}; order against the paper's: τ = {found.tau:.2f}"


def _grouped(panel: Any, lines: Any) -> None:
    """A line between two letters."""
    for place in range(1, len(lines)):
        if lines[place].row.group != lines[place - 1].row.group:
            panel.axhline(place - 0.5, color=MUTED, linewidth=0.6)


def _short(line: Line) -> str:
    return "" if line.row.name == BASE else line.row.change.replace(", three times the steps", "")
