"""Record attention once, draw it many ways (the paper's Figures 3 to 5): HTML, PNG, NPZ, JSON."""

from collections.abc import Sequence
from pathlib import Path

from heedful.errors import HeedfulError
from heedful.inspection.arrays import save_json, save_npz
from heedful.inspection.page import notebook_html, save_html
from heedful.inspection.picture import save_png
from heedful.inspection.record import Inspection

__all__ = ["Inspection", "notebook_html", "save"]


def save(path: Path, inspections: Sequence[Inspection]) -> None:
    """Writes the inspections as the suffix of the path says; a page or a picture shows several side by side.

    Raises `HeedfulError` for any suffix but .html, .png, .npz and .json, and for several in one of the last two.
    """
    match path.suffix.lower():
        case ".html":
            save_html(path, inspections)
        case ".png":
            save_png(path, inspections)
        case ".npz" | ".json" if len(inspections) != 1:
            raise HeedfulError(f"{path}: {path.suffix} holds one inspection, these are {len(inspections)}; use .html")
        case ".npz":
            save_npz(path, inspections[0])
        case ".json":
            save_json(path, inspections[0])
        case _:
            raise HeedfulError(f"{path}: its name must end in .html, .png, .npz or .json")
