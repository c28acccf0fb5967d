"""Inspections as one PNG: every head at a glance, and the mean map large, with its tokens.

Needs matplotlib, the extra `plot`. A script that needs a shaping engine (Arabic, Devanagari) is only shaped where
matplotlib was built with one (3.11 and later); otherwise its letters stand side by side in logical order.
"""

import io
import logging
import math
import unicodedata
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from heedful.checkpoint import write_file
from heedful.errors import HeedfulError
from heedful.inspection.labels import Label, label
from heedful.inspection.record import Inspection, Weights

_TITLES = {"cross": "encoder–decoder", "encoder": "encoder", "decoder": "decoder"}
_COLOURS = "Blues"
_INK, _MUTED, _LINE = "#1d1c1a", "#6a6761", "#d8d5cf"
_WIDTH = 8.5
"""Inches for one inspection."""
_CELLS = 600
"""Rows and columns of the large map at most; beyond that each pixel is the largest weight of its block."""


def save_png(path: Path, inspections: Sequence[Inspection]) -> None:
    """Draws the inspections side by side. Raises `HeedfulError` where matplotlib is missing."""
    check_matplotlib()
    import matplotlib.style
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    families, missing = _families(_characters(inspections))
    if missing:
        logging.getLogger("heedful").warning(
            "%s: no installed font has %s; drawn as boxes, install the Noto fonts", path, "".join(sorted(missing)[:20])
        )
    with matplotlib.style.context("default", after_reset=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        matplotlib.rcParams.update({"font.family": families, "text.parse_math": False})
        figure = Figure(figsize=(_WIDTH * len(inspections), max(map(_height, inspections))), layout="constrained")
        [columns] = figure.subfigures(1, len(inspections), wspace=0.03, squeeze=False)
        for column, inspection in zip(columns, inspections, strict=True):
            _draw(column, inspection)
        figure.savefig(buffer, format="png", dpi=110, facecolor="white")
    write_file(path, buffer.getvalue())


def check_matplotlib() -> None:
    """Raises `HeedfulError` where the extra `plot` is not installed."""
    try:
        import matplotlib.style  # noqa: F401
    except ImportError as error:
        raise HeedfulError("a picture needs matplotlib; install it with: pip install 'heedful[plot]'") from error


def _height(inspection: Inspection) -> float:
    """Inches: titles, overview, large map."""
    if not inspection.kinds():
        return 3.5
    queries, keys = inspection.axes(inspection.kinds()[0])
    map_height = 7 * min(1, max(0.3, len(queries) / len(keys)))
    return 2.6 + _overview_height(inspection) + map_height


def _overview_height(inspection: Inspection) -> float:
    """Inches, for cells that are about square."""
    if not _many(inspection):
        return 0.0
    widest = sum(max(map(len, inspection.layers(kind))) for kind in inspection.kinds())
    deepest = max(len(inspection.layers(kind)) for kind in inspection.kinds())
    return 0.5 + deepest * min(0.8, _WIDTH / widest)


def _many(inspection: Inspection) -> bool:
    return sum(len(layer) for kind in inspection.kinds() for layer in inspection.layers(kind)) > 1


def _draw(figure: Any, inspection: Inspection) -> None:
    source, text = (_shortened(line) for line in (inspection.source, inspection.text))
    score = f"score {inspection.score:.3f}".replace("-", "−")
    given = ", given target" if inspection.forced else ""
    title = f"{inspection.name}   ({score}{given})\n{source}\n{text}"
    figure.suptitle(title, fontsize=11, color=_INK, linespacing=1.5)
    if not inspection.kinds():
        _say_none(figure.subplots())
        return
    if not _many(inspection):
        _large(figure.subplots(), inspection)
        return
    height = _overview_height(inspection)
    overview, large = figure.subfigures(2, 1, height_ratios=[height, _height(inspection) - height])
    widths = [max(map(len, inspection.layers(kind))) for kind in inspection.kinds()]
    [blocks] = overview.subfigures(1, len(widths), width_ratios=widths, wspace=0.04, squeeze=False)
    for kind, block in zip(inspection.kinds(), blocks, strict=True):
        _overview(block, inspection, kind)
    _large(large.subplots(), inspection)


def _overview(figure: Any, inspection: Inspection, kind: str) -> None:
    """Small maps: a row per layer, a column per head."""
    layers = inspection.layers(kind)
    axes = figure.subplots(len(layers), max(map(len, layers)), squeeze=False)
    top = max(float(layer.max()) for layer in layers)
    figure.suptitle(f"{_TITLES[kind]} (darkest: {top:.2f})", fontsize=9, color=_MUTED)
    for index, (row, layer) in enumerate(zip(axes, layers, strict=True), start=1):
        for axis, head in zip(row, layer, strict=False):
            axis.imshow(pooled(head, 64), cmap=_COLOURS, vmin=0, vmax=top, aspect="auto", interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            _frame(axis)
        for axis in row[len(layer) :]:
            axis.set_visible(False)
        row[0].set_ylabel(str(index), rotation=0, fontsize=8, color=_MUTED, labelpad=6, va="center")


def _frame(axis: Any) -> None:
    for spine in axis.spines.values():
        spine.set(color=_LINE, linewidth=0.8)


def _large(axis: Any, inspection: Inspection) -> None:
    """The mean of all heads, where the source is looked at if the model does that, with tokens on both axes."""
    kind = inspection.kinds()[0]
    mean = inspection.mean(kind)
    queries, keys = inspection.axes(kind)
    image = axis.imshow(
        pooled(mean, _CELLS),
        cmap=_COLOURS,
        vmin=0,
        vmax=float(mean.max()),
        extent=(-0.5, len(keys) - 0.5, len(queries) - 0.5, -0.5),
        aspect="equal" if 0.3 < len(queries) / len(keys) < 3 else "auto",
        interpolation="nearest",
    )
    _frame(axis)
    axis.set_anchor("N")
    what = "mean of all heads" if _many(inspection) else "attention"
    axis.set_title(f"{_TITLES[kind]}, {what}", fontsize=9, color=_MUTED)
    size = max(5.0, min(9.0, 330 / max(len(queries), len(keys))))
    for ticks, tokens, rotation in ((axis.set_xticks, keys, 60), (axis.set_yticks, queries, 0)):
        every = math.ceil(len(tokens) / 75)
        shown = [_text(label(token)) for token in tokens[::every]]
        ticks(range(0, len(tokens), every), shown, rotation=rotation, fontsize=size, color=_INK)
    axis.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False, length=0)
    for tick in axis.get_xticklabels():
        tick.set(ha="left", rotation_mode="anchor")
    bar = axis.figure.colorbar(image, ax=axis, shrink=0.4, pad=0.02, anchor=(0, 1), aspect=25)
    bar.ax.tick_params(labelsize=7, colors=_MUTED)
    bar.outline.set_visible(False)


def _say_none(axis: Any) -> None:
    axis.axis("off")
    says = "No attention.\nEverything this model knows of the source\nis one fixed-length vector."
    axis.text(0.5, 0.85, says, ha="center", va="top", fontsize=12, color=_INK, linespacing=1.6)


def pooled(weights: Weights, most: int) -> Weights:
    """The largest weight of each block, so that no peak is lost where a map has more than `most` rows or columns."""
    for axis in (0, 1):
        size = weights.shape[axis]
        starts = np.ceil(np.arange(min(size, most)) * size / min(size, most)).astype(int)
        weights = np.maximum.reduceat(weights, starts, axis=axis)
    return weights


def _text(shown: Label) -> str:
    text = ("·" if shown.space else "") + shown.text
    return text if len(text) <= 16 else text[:15] + "…"


def _shortened(line: str) -> str:
    line = "".join(character if _drawable(character) else " " for character in line)
    return line if len(line) <= 90 else line[:89] + "…"


def _drawable(character: str) -> bool:
    return unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp")


def _characters(inspections: Sequence[Inspection]) -> frozenset[str]:
    texts = [text for one in inspections for text in (one.name, one.source, one.text)]
    tokens = [label(token).text for one in inspections for token in one.source_tokens + one.tokens]
    return frozenset(character for character in "".join(texts + tokens) if _drawable(character))


def _families(characters: frozenset[str]) -> tuple[list[str], set[str]]:
    """Installed fonts that have these characters between them, matplotlib's own first; the characters none has."""
    from matplotlib.font_manager import fontManager

    families, missing = ["DejaVu Sans"], set(characters)
    fonts = sorted(
        (font for font in fontManager.ttflist if font.style == "normal" and font.weight in (400, "normal", "regular")),
        key=lambda font: (font.name != "DejaVu Sans", not font.name.startswith("Noto Sans"), font.name),
    )
    for font in fonts:
        if not missing:
            break
        if font.name.startswith("Last Resort"):
            continue  # it has a box for every character
        found = {character for character in missing if ord(character) in _coverage(font.fname)}
        missing -= found
        if found and font.name not in families:
            families.append(font.name)
    return families, missing


@cache
def _coverage(path: str) -> frozenset[int]:
    """The code points a font file has glyphs for."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):
        return frozenset()
