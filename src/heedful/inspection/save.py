"""Writes inspections in the format that a file's name asks for."""

from collections.abc import Sequence
from pathlib import Path

from heedful.errors import HeedfulError
from heedful.inspection.arrays import save_json, save_npz
from heedful.inspection.page import save_html
from heedful.inspection.picture import check_matplotlib, save_png
from heedful.inspection.record import Inspection

_SUFFIXES = (".html", ".png", ".npz", ".json")


def check_suffix(path: Path) -> None:
    """Raises `HeedfulError` where `save` could not write this file, whatever is in it: ask before the work."""
    if path.suffix.lower() not in _SUFFIXES:
        raise HeedfulError(f"{path}: its name must end in .html, .png, .npz or .json")
    if path.suffix.lower() == ".png":
        check_matplotlib()


def save(path: Path, inspections: Sequence[Inspection]) -> None:
    """A page (.html) or a picture (.png) of one or several inspections, or the numbers (.npz, .json) of one.

    Files appear whole or not at all. Raises `HeedfulError` for another suffix, for several inspections where the
    format holds one, and where writing fails.
    """
    check_suffix(path)
    suffix = path.suffix.lower()
    if suffix == ".html":
        save_html(path, inspections)
    elif suffix == ".png":
        save_png(path, inspections)
    elif len(inspections) != 1:
        raise HeedfulError(f"{path}: {suffix} holds one inspection, not {len(inspections)}; save as .html or .png")
    elif suffix == ".npz":
        save_npz(path, inspections[0])
    else:
        save_json(path, inspections[0])
