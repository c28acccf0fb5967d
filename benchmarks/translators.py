"""Who translates side by side, and every setting each is tried with."""

import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

from heedful.decoding.request import Precision


@dataclass(frozen=True)
class Setting:
    """One way to start a contender: flags and environment. Its label names only what was chosen."""

    label: str
    flags: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Translator:
    """A toolkit in one precision, with the settings of which the best counts."""

    name: str
    command: Sequence[str | Path]
    imports: str
    batched: Sequence[Setting]
    """Tried where there are many lines."""
    single: Sequence[Setting]
    """Tried one sentence at a time."""
    long: bool = True
    """Whether it can do the long file in the time there is."""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return Path(self.command[0])


def translators(model: Path, work: Path, pythons: Mapping[str, Path | None]) -> tuple[list[Translator], list[str]]:
    """Everybody who is installed, heedful first; and the names of those who are not."""
    found, missing = [_heedful(model, precision) for precision in get_args(Precision)], []
    if python := pythons["ctranslate2"]:
        found += [_ctranslate2(python, model, work / "ctranslate2", kind) for kind in ("float32", "int8")]
    else:
        missing.append("CTranslate2")
    if python := pythons["huggingface"]:
        found.append(_hugging_face(python, model))
    else:
        missing.append("Hugging Face generate")
    return found, missing


def _heedful(model: Path, precision: str) -> Translator:
    command = [sys.executable, "-m", "benchmarks.heedful_translate", "--model", model, "--precision", precision]
    settings = [Setting("")]
    imports = "heedful, heedful.decoding.translator"
    return Translator(f"heedful, {precision}", command, imports, settings, settings)


def _ctranslate2(python: Path, model: Path, converted: Path, kind: str) -> Translator:
    """Both kernels, one translation on two threads or two on one each, small batches and large ones."""
    command = [python, "-m", "benchmarks.peers.ctranslate2_translate", "--model", converted]
    command += ["--vocabulary", model / "source.model", "--compute-type", kind]
    kernels = [("0", "own kernels"), ("1", "MKL")]
    batched = [
        Setting(
            f"{name}, {inter}×{2 // inter} threads, batch {batch}",
            ["--inter-threads", str(inter), "--batch", str(batch)],
            {"CT2_USE_MKL": mkl},
        )
        for (mkl, name), inter, batch in itertools.product(kernels, (1, 2), (64, 256))
    ]
    single = [
        Setting(f"{name}, {threads} thread{'s' * (threads > 1)}", ["--threads", str(threads)], {"CT2_USE_MKL": mkl})
        for (mkl, name), threads in itertools.product(kernels, (1, 2))
    ]
    return Translator(f"CTranslate2 4.8.5, {kind}", command, "ctranslate2, sentencepiece", batched, single)


def _hugging_face(python: Path, model: Path) -> Translator:
    command = [python, "-m", "benchmarks.peers.hugging_face_translate", "--model", model]
    batched = [Setting(f"batch {batch}", ["--batch", str(batch)]) for batch in (64, 256)]
    imports = "torch, transformers; from transformers import MarianMTModel"
    return Translator("Hugging Face generate, float32", command, imports, batched, [Setting("")], long=False)
