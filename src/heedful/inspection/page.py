"""Inspections as one HTML file that fetches nothing: weights, drawing and style are all inside.

The page draws from the very float32 numbers that were recorded. Above `EXACT_BYTES` of them it holds each weight
in eight bits instead (its square root in steps of 1/255, so an error below 0.004) and marks values with "≈".
"""

import base64
import hashlib
import html
import json
import re
import textwrap
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from heedful.checkpoint import write_file
from heedful.inspection.labels import direction, label
from heedful.inspection.record import SCHEMA, VERSION, Inspection, Weights

if TYPE_CHECKING:
    from heedful.decoding.translation import Translation

EXACT_BYTES = 32 * 2**20
"""Weights of one page up to this size are kept exactly: three 4-layer 4-head models at about 240 tokens."""


def page(inspections: Sequence[Inspection], title: str | None = None) -> str:
    """The HTML of one or several inspections, side by side.

    The data stands in a JSON block and reaches the page as text only; a Content-Security-Policy with the hashes of
    the two inlined files forbids every other script or style and all traffic.
    """
    exact = (
        sum(layer.nbytes for one in inspections for kind in one.kinds() for layer in one.layers(kind)) <= EXACT_BYTES
    )
    title = title or textwrap.shorten(inspections[0].source, 120, placeholder=" …")
    record = {
        "schema": SCHEMA,
        "version": VERSION,
        "title": title,
        "inspections": [_record(inspection, exact) for inspection in inspections],
    }
    script = '"use strict";\n' + "".join(map(_file, ("words.js", "heatmap.js", "panel.js", "page.js")))
    style = _file("page.css")
    parts = {
        "policy": (
            f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
            "base-uri 'none'; form-action 'none'"
        ),
        "title": html.escape(title),
        "style": style,
        "script": script,
        # Without "<" no token can end the block; escapes also cover U+2028, lone surrogates and bidi controls.
        "record": json.dumps(record, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c"),
    }
    # One pass, so that data which looks like a placeholder stays data.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("page.html"))


def save_html(path: Path, inspections: Sequence[Inspection], title: str | None = None) -> None:
    """Writes `page` to a file, whole or not at all."""
    write_file(path, page(inspections, title).encode("utf-8", "backslashreplace"))


def notebook_html(inspection: Inspection) -> str:
    """The page in a frame of its own, for `_repr_html_`: no request, no kernel, nothing shared with the notebook."""
    content = html.escape(page([inspection]))
    height = 980 if inspection.kinds() else 480
    return (
        f'<iframe sandbox="allow-scripts" srcdoc="{content}" width="100%" height="{height}" '
        'style="border:0" title="heedful: attention"></iframe>'
    )


def draw(translation: "Translation") -> str:
    """How a translation shows itself in a notebook."""
    if not translation.tokens:
        return f"<p>{html.escape(translation.text)}</p>"
    return notebook_html(Inspection.of(translation, name=""))


def _record(inspection: Inspection, exact: bool) -> dict[str, Any]:
    return {
        "model": inspection.name,
        "source": inspection.source,
        "text": inspection.text,
        "score": inspection.score,
        "forced": inspection.forced,
        "source_direction": direction(inspection.source),
        "text_direction": direction(inspection.text),
        "source_tokens": _tokens(inspection.source_tokens),
        "tokens": _tokens(inspection.tokens),
        "decoder_inputs": _tokens(inspection.decoder_inputs),
        "attention": {kind: [_block(layer, exact) for layer in inspection.layers(kind)] for kind in inspection.kinds()},
    }


def _tokens(tokens: Sequence[str]) -> list[dict[str, Any]]:
    return [{"token": token, **asdict(label(token))} for token in tokens]


def _block(layer: Weights, exact: bool) -> dict[str, Any]:
    """One layer `[heads, queries, keys]`, little-endian, deflated, base64."""
    values = layer.astype("<f4") if exact else np.rint(255 * np.sqrt(np.clip(layer, 0, 1))).astype(np.uint8)
    return {
        "shape": list(layer.shape),
        "coding": "float32" if exact else "sqrt8",
        "data": base64.b64encode(zlib.compress(values.tobytes())).decode(),
    }


def _file(name: str) -> str:
    return (files("heedful.inspection") / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
