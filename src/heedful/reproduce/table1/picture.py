"""Table 1 drawn: time, memory, multiply-adds and path lengths over n."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heedful.reproduce.panels import COLOURS, INK, MUTED, frame, legend, page
from heedful.reproduce.table1.layers import ATTENTION, RECURRENT
from heedful.reproduce.table1.table import Row, Table

_DASHES = ("-", "-", "-", (0, (4, 3)), (0, (1, 1.6)), "-")
"""Of each layer's line: where two lie on one another, both are seen."""


def save_picture(path: Path, table: Table) -> None:
    """Three rows of panels: time for each d, memory for each d, and what was counted."""
    plan = table.plan
    with page(path, 12.5, 11, f"Table 1, measured and counted\n{table.machine}") as figure:
        panels = figure.subplots(3, max(3, len(plan.widths)), squeeze=False)
        for column, d in enumerate(plan.widths):
            _over_n(panels[0][column], table, f"time, d = {d}", _timed(table, d))
            _mark_crossings(panels[0][column], table, d)
            _over_n(panels[1][column], table, f"memory, d = {d}", _kept(table, d))
        panels[0][0].set_ylabel(f"ms, forward and backward\n{plan.tokens:,} tokens", color=MUTED)
        panels[1][0].set_ylabel(f"MB kept between the passes\n{plan.tokens:,} tokens", color=MUTED)
        d = plan.widths[-1]
        _over_n(panels[2][0], table, f"multiply-adds a token without projections, d = {d}", _per_token(table, d))
        _over_n(panels[2][1], table, "products that wait for one another", lambda row: row.chains)
        _over_n(panels[2][2], table, "longest path between two positions", lambda row: row.paths)
        for panel in panels[2][:3]:
            panel.set_xlabel("n, tokens of a sentence", color=MUTED)
        for row in panels:
            for panel in row[max(3, len(plan.widths)) :]:
                panel.set_visible(False)
        legend(figure, panels[0][0], columns=3)


def _timed(table: Table, d: int) -> Callable[[Row], Mapping[int, float]]:
    return lambda row: {n: row.measured[n, d].seconds * 1e3 for n in table.plan.lengths}


def _kept(table: Table, d: int) -> Callable[[Row], Mapping[int, float]]:
    return lambda row: {n: row.measured[n, d].bytes / 1e6 for n in table.plan.lengths}


def _per_token(table: Table, d: int) -> Callable[[Row], Mapping[int, float]]:
    return lambda row: {n: row.works[n, d].mixing / n for n in table.plan.lengths}


def _over_n(panel: Any, table: Table, title: str, series: Callable[[Row], Mapping[int, float]]) -> None:
    """A line for each layer, on logarithmic axes."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for row, colour, dashes in zip(table.rows, COLOURS, _DASHES, strict=True):
        values = series(row)
        panel.plot(
            *(list(values), list(values.values())),
            **{"color": colour, "linestyle": dashes, "marker": "o", "markersize": 3.5, "linewidth": 1.9},
            label=row.layer.name,
        )
    lengths = list(series(table.rows[0]))
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_xticks(lengths, [str(n) for n in lengths])
    panel.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    panel.yaxis.set_major_formatter(lambda value, _: _short(value))
    panel.yaxis.set_minor_formatter(NullFormatter())
    frame(panel, title)


def _mark_crossings(panel: Any, table: Table, d: int) -> None:
    """Where self-attention's time passes recurrence's."""
    own, rival = table.row(ATTENTION), table.row(RECURRENT)
    times = [own.measured[n, d].seconds for n in table.plan.lengths]
    for n in (end for span in table.crossings(rival, d)["time"] for end in span if 0 < end < math.inf):
        height = 1e3 * float(np.exp(np.interp(math.log(n), np.log(table.plan.lengths), np.log(times))))
        panel.plot([n], [height], marker="o", markersize=9, markerfacecolor="none", color=INK, zorder=5)
        panel.annotate(
            *(f"n = {n:,.0f}", (n, height)),
            **{"xytext": (6, -15), "textcoords": "offset points", "fontsize": 9.5, "color": INK},
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def _short(value: float) -> str:
    """1,000 and 1M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,g}"
