"""Model FLOP utilisation on one GPU, beside the Hugging Face loop: runs unattended and writes the table.

    python -m benchmarks.gpu [--data DIR] [--report docs/performance.md]
    python -m benchmarks.gpu --dry-run     the same on the CPU, with small shapes and dates for text

Utilisation is the FLOPs of the formula (heedful/model/complexity.py) for the real tokens of every pair, padding and
the optimiser not counted, over the time and over what the GPU can do in bfloat16. heedful is measured when most shapes
of batches have been recorded as graphs; the loop has nothing to wait for but its first updates.
"""

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks import training
from benchmarks.contender import Bench, Contender
from benchmarks.contenders import Heedful, Marian
from benchmarks.environments import PEERS, python_of
from benchmarks.processes import ROOT
from benchmarks.report import machine, replace_section
from benchmarks.shapes import TrainingShape
from benchmarks.tables import Spread, ratios, table
from benchmarks.text import Text, find_text
from heedful.data.dates import make_splits, write_dates
from heedful.data.tokenizer import Tokenizers
from heedful.model.complexity import training_flops
from heedful.model.config import ModelConfig
from heedful.recipes.named import recipe

_PAPER = {
    "vocab_size": 37000,
    "batch_tokens": 25000,
    "device_tokens": 25000,  # all at once: such a GPU has memory for it
    "lr": 7e-4,
    "warmup_steps": 4000,
    "clip_norm": 0.0,
}
SHAPES = (
    TrainingShape("base", "base", _PAPER, 500, 100, "the paper's base, 25,000 tokens a batch"),
    TrainingShape("big", "big", _PAPER, 500, 100, "the paper's big, 25,000 tokens a batch"),
)
_LOOP = {"warm_up": 10, "measured": 30}
_SMALL = {
    "vocab_size": 400,
    "batch_tokens": 256,
    "device_tokens": 256,
    "layers": 2,
    "d_model": 32,
    "d_ff": 64,
    "heads": 2,
    "clip_norm": 0.0,
}
PEAKS = {
    # dense bfloat16 products of NVIDIA's data sheets, TFLOP/s
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "H200": 989.0,
    "A100": 312.0,
    "L40S": 362.0,
    "L4": 121.0,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true", help="small shapes on the CPU; needs no data")
    parser.add_argument("--data", type=Path, help="directory of train, val and test_2016_flickr; fetched unless given")
    parser.add_argument("--peers", type=Path, default=PEERS, help="where the peers' environments stand")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench-gpu", help="directory for everything made")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "performance.md", help="file to write to")
    names = [shape.name for shape in SHAPES]
    parser.add_argument("--shapes", nargs="+", choices=names, default=names, help="both unless given")
    parser.add_argument("--rounds", type=int, default=3, help="rounds, in turn")
    parser.add_argument("--peak-tflops", type=float, help="of the device in bfloat16; from its data sheet unless given")
    arguments = parser.parse_args()
    if not arguments.dry_run and not torch.cuda.is_available():
        raise SystemExit("no GPU here; --dry-run goes through the same steps on the CPU")
    work = arguments.work.resolve()
    text = dates(work) if arguments.dry_run else find_text(arguments.data, work)
    chosen = [shape for shape in SHAPES if shape.name in arguments.shapes]
    shapes = [small(shape) for shape in chosen] if arguments.dry_run else chosen
    peak, source = peak_flops(arguments.peak_tflops)
    head = f"{device_name()}; {machine()}; {arguments.rounds} rounds; {peak / 1e12:.3g} TFLOP/s {source}.\n\n"
    rows = []
    for shape in shapes:
        rows += shape_rows(shape, text, work, arguments, peak)
        content = head + table(["shape", "", "target tokens/s", "utilisation", "heedful's to this"], rows)
        replace_section(arguments.report, "gpu-dry-run" if arguments.dry_run else "gpu", content)
    print(content)


def shape_rows(
    shape: TrainingShape, text: Text, work: Path, arguments: argparse.Namespace, peak: float
) -> list[list[str]]:
    """A row for heedful, and one for the Hugging Face loop."""
    threads = min(8, os.cpu_count() or 1)
    bench = training.prepare(shape, text, work, threads, "cpu" if arguments.dry_run else "cuda")
    python = python_of(arguments.peers, "huggingface")
    loop = replace(bench, shape=replace(shape, **_LOOP)) if shape.warm_up > _LOOP["warm_up"] else bench
    who: list[tuple[Contender, Bench]] = [(Heedful("bfloat16"), bench)]
    who += [(Marian(python, "bfloat16"), loop)] if python else []
    results = training.in_turn(who, work, arguments.rounds)
    ours = results[0].speeds
    rows = []
    for result, (_, measured) in zip(results, who, strict=True):
        share = flops_of_a_token(measured) / peak
        if not result.speeds:
            rows.append([shape.name, result.contender.name, f"failed: {result.failure[:80]}", "", ""])
            continue
        ratio = f"{ratios(ours, result.speeds).show(2)}×" if ours and result is not results[0] else ""
        used = f"{100 * share * median(result.speeds):.1f} %"
        rows.append([shape.name, result.contender.name, Spread.of(result.speeds).show(), used, ratio])
    return rows if python else [*rows, [shape.name, "Hugging Face loop", "not installed", "", ""]]


def flops_of_a_token(bench: Bench) -> float:
    """Training FLOPs for each real target token of the measured batches, their source tokens included."""
    config: ModelConfig = recipe(bench.shape.recipe).override(bench.shape.fields).model
    vocabulary = Tokenizers.load(bench.start).target.vocab_size
    total = tokens = 0
    with np.load(bench.batches) as arrays:
        for number in range(bench.shape.warm_up, bench.last):
            source = (arrays[f"{number}/source"] != 0).sum(1).tolist()
            target = (arrays[f"{number}/wanted"] != 0).sum(1).tolist()
            total += sum(training_flops(config, vocabulary, *pair) for pair in zip(source, target, strict=True))
            tokens += sum(target)
    return total / tokens


def peak_flops(given: float | None) -> tuple[float, str]:
    """What the device can do, and who says so; a device without a known data sheet is measured."""
    if given:
        return given * 1e12, "as given"
    known = next((peak for name, peak in PEAKS.items() if all(part in device_name() for part in name.split())), None)
    if known:
        return known * 1e12, "by the data sheet"
    cuda = torch.cuda.is_available()
    size = 8192 if cuda else 1024
    left, right = (torch.randn(size, size, device="cuda" if cuda else "cpu", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(8):
        start = time.perf_counter()
        float((left @ right)[0, 0])  # waits for the device
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds), f"measured on products of {size} × {size}"


def device_name() -> str:
    """Of the GPU, where there is one."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def dates(work: Path) -> Text:
    """A corpus that needs no network, with the file names of the real one."""
    text = Text(work / "dates", "source", "target")
    for part, examples in zip(("train", "val", "test_2016_flickr"), make_splits(400, 20, 20, 1), strict=True):
        write_dates(examples, text.directory / part)
    return text


def small(shape: TrainingShape) -> TrainingShape:
    """The same steps in seconds."""
    return replace(shape, overrides=_SMALL, warm_up=1, measured=3)


if __name__ == "__main__":
    main()
