"""The numbers of an inspection for other programs: NPZ for NumPy, JSON for everything else."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from heedful.checkpoint import write_file
from heedful.errors import HeedfulError
from heedful.inspection.record import KINDS, SCHEMA, VERSION, Inspection, Weights


def save_npz(path: Path, inspection: Inspection) -> None:
    """Arrays `encoder`, `decoder`, `cross`, each float32 `[layer, head, query, key]`, where the model has them.

    With them `source_tokens` and `tokens`, EOS included, as Unicode strings: `numpy.load` needs no pickle.
    Raises `HeedfulError` where layers differ in their number of heads, which one array cannot hold.
    """
    arrays: dict[str, Any] = {kind: _stacked(kind, inspection) for kind in inspection.kinds()}
    arrays["source_tokens"] = np.array(inspection.source_tokens, dtype=np.str_)
    arrays["tokens"] = np.array(inspection.tokens, dtype=np.str_)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_file(path, buffer.getvalue())


def save_json(path: Path, inspection: Inspection) -> None:
    """The record in full, `attention` as `{kind: [layer][head][query][key]}`, one query a line.

    A number has as many digits as it takes to be the float32 value exactly. A kind that the model lacks is null.
    """
    lines: list[str] = []
    for key, value in _header(inspection).items():
        lines.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)},")
    if inspection.attention is None:
        lines.append('  "attention": null')
    else:
        kinds = (f'    "{kind}": {_nested(inspection, kind)}' for kind in KINDS)
        lines.append('  "attention": {\n' + ",\n".join(kinds) + "\n  }")
    # A lone surrogate, from a command line that was not UTF-8, becomes the escape that JSON has for it.
    write_file(path, ("{\n" + "\n".join(lines) + "\n}\n").encode("utf-8", "backslashreplace"))


def _header(inspection: Inspection) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "version": VERSION,
        "model": inspection.name,
        "source": inspection.source,
        "text": inspection.text,
        "score": inspection.score,
        "forced": inspection.forced,
        "source_tokens": inspection.source_tokens,
        "tokens": inspection.tokens,
        "decoder_inputs": inspection.decoder_inputs,
    }


def _nested(inspection: Inspection, kind: str) -> str:
    layers = inspection.layers(kind)
    if not layers:
        return "null"
    blocks = ("[\n" + ",\n".join(_heads(layer)) + "\n      ]" for layer in layers)
    return "[" + ", ".join(blocks) + "]"


def _heads(layer: Weights) -> Iterator[str]:
    for head in layer:
        rows = ",\n".join(f"          {json.dumps(row.tolist(), allow_nan=False)}" for row in head)
        yield f"        [\n{rows}\n        ]"


def _stacked(kind: str, inspection: Inspection) -> Weights:
    layers = inspection.layers(kind)
    heads = [len(layer) for layer in layers]
    for number, count in enumerate(heads, start=1):
        if count != heads[0]:
            raise HeedfulError(
                f"{kind} attention has {heads[0]} heads in layer 1 and {count} in layer {number}, "
                "which one NPZ array cannot hold; save as .json"
            )
    return np.stack(layers)
