"""How the pictures of this package look: colours, frames, the file they go to."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from heedful.checkpoint import write_file
from heedful.inspection.picture import check_matplotlib

COLOURS = ("#1f5fa8", "#c8553d", "#9a958c", "#3f8f5b", "#a678c4", "#58b4d6")
INK, MUTED, LINE = "#1d1c1a", "#6a6761", "#e4e1db"


@contextmanager
def page(path: Path, width: float, height: float, title: str) -> Iterator[Any]:
    """A figure of so many inches, written to `path` as PNG when it is drawn, whatever style matplotlib is set to.

    Raises `HeedfulError` where matplotlib is not installed.
    """
    check_matplotlib()
    import matplotlib.style
    from matplotlib.figure import Figure

    with matplotlib.style.context("default", after_reset=True):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    write_file(path, buffer.getvalue())


def frame(panel: Any, title: str) -> None:
    """Title, grid and ticks of one panel."""
    panel.set_title(title, loc="left", fontsize=10.5, color=INK)
    panel.tick_params(which="both", labelsize=9, colors=MUTED)
    panel.tick_params(which="minor", length=0)
    panel.grid(color=LINE, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def logarithmic(axis: Any) -> None:
    """Of few decades: 1, 2, 5, 10 as plain numbers."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


def legend(figure: Any, panel: Any, columns: int) -> None:
    """Below all panels, of what is drawn in this one."""
    handles, labels = panel.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=11)
