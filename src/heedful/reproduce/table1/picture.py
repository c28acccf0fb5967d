"""Table 1 drawn: time, memory, multiply-adds and path lengths over n."""

import io
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from heedful.checkpoint import write_file
from heedful.inspection.picture import check_matplotlib
from heedful.reproduce.table1.layers import ATTENTION, RECURRENT
from heedful.reproduce.table1.table import Row, Table

_LOOKS = (
    ("#1f5fa8", "-"),
    ("#c8553d", "-"),
    ("#9a958c", "-"),
    ("#3f8f5b", (0, (4, 3))),
    ("#a678c4", (0, (1, 1.6))),
    ("#58b4d6", "-"),
)
"""Colour and dashes of each layer's line: where two lie on one another, both are seen."""
_INK, _MUTED, _LINE = "#1d1c1a", "#6a6761", "#e4e1db"


def save_picture(path: Path, table: Table) -> None:
    """Three rows of panels: time for each d, memory for each d, and what was counted."""
    check_matplotlib()
    import matplotlib.style
    from matplotlib.figure import Figure

    plan = table.plan
    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(12.5, 11), layout="constrained")
        panels = figure.subplots(3, max(3, len(plan.widths)), squeeze=False)
        for column, d in enumerate(plan.widths):
            _over_n(panels[0][column], table, f"time, d = {d}", _timed(table, d))
            _mark_crossings(panels[0][column], table, d)
            _over_n(panels[1][column], table, f"memory, d = {d}", _kept(table, d))
        panels[0][0].set_ylabel(f"ms, forward and backward\n{plan.tokens:,} tokens", color=_MUTED)
        panels[1][0].set_ylabel(f"MB kept between the passes\n{plan.tokens:,} tokens", color=_MUTED)
        d = plan.widths[-1]
        _over_n(panels[2][0], table, f"multiply-adds a token without projections, d = {d}", _per_token(table, d))
        _over_n(panels[2][1], table, "products that wait for one another", lambda row: row.chains)
        _over_n(panels[2][2], table, "longest path between two positions", lambda row: row.paths)
        for panel in panels[2][:3]:
            panel.set_xlabel("n, tokens of a sentence", color=_MUTED)
        for row in panels:
            for panel in row[max(3, len(plan.widths)) :]:
                panel.set_visible(False)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=11)
        figure.suptitle(f"Table 1, measured and counted\n{table.machine}", x=0.01, ha="left", fontsize=11, color=_INK)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    write_file(path, buffer.getvalue())


def _timed(table: Table, d: int) -> Callable[[Row], Mapping[int, float]]:
    return lambda row: {n: row.measured[n, d].seconds * 1e3 for n in table.plan.lengths}


def _kept(table: Table, d: int) -> Callable[[Row], Mapping[int, float]]:
    return lambda row: {n: row.measured[n, d].bytes / 1e6 for n in table.plan.lengths}


def _per_token(table: Table, d: int) -> Callable[[Row], Mapping[int, float]]:
    return lambda row: {n: row.works[n, d].mixing / n for n in table.plan.lengths}


def _over_n(panel: Any, table: Table, title: str, series: Callable[[Row], Mapping[int, float]]) -> None:
    """A line for each layer, on logarithmic axes."""
    from matplotlib.ticker import LogLocator, NullFormatter

    for row, (colour, dashes) in zip(table.rows, _LOOKS, strict=True):
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
    panel.set_title(title, loc="left", fontsize=10.5, color=_INK)
    panel.tick_params(which="both", labelsize=9, colors=_MUTED)
    panel.tick_params(which="minor", length=0)
    panel.grid(color=_LINE, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _mark_crossings(panel: Any, table: Table, d: int) -> None:
    """Where self-attention's time passes recurrence's."""
    own, rival = table.row(ATTENTION), table.row(RECURRENT)
    times = [own.measured[n, d].seconds for n in table.plan.lengths]
    for n in (end for span in table.crossings(rival, d)["time"] for end in span if 0 < end < math.inf):
        height = 1e3 * float(np.exp(np.interp(math.log(n), np.log(table.plan.lengths), np.log(times))))
        panel.plot([n], [height], marker="o", markersize=9, markerfacecolor="none", color=_INK, zorder=5)
        panel.annotate(
            *(f"n = {n:,.0f}", (n, height)),
            **{"xytext": (6, -15), "textcoords": "offset points", "fontsize": 9.5, "color": _INK},
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )


def _short(value: float) -> str:
    """1,000 and 1M."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value >= 1e4 else f"{value:,g}"
