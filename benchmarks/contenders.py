"""Who trains side by side: heedful, the Hugging Face loop, JoeyNMT, Eole."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args, get_type_hints

from benchmarks.contender import Bench, Contender, Progress, from_metrics
from benchmarks.eole import Eole
from benchmarks.joeynmt import Joey
from benchmarks.shapes import TrainingShape
from heedful.recipes.named import recipe
from heedful.training.config import TrainingConfig


@dataclass
class Heedful(Contender):
    """`heedful train` itself: everything a user waits for, but validation."""

    precision: str
    options: Mapping[str, str] = field(default_factory=dict)
    """More flags of `heedful train`."""
    imports: str = "heedful.recipes.run, heedful.cli.main"
    same_start: bool = True

    def __post_init__(self) -> None:
        self.python, self.drawn = Path(sys.executable), not self.options
        self.name = ", ".join(("heedful", self.precision, *(f"{k} {v}" for k, v in self.options.items())))

    def command(self, bench: Bench, directory: Path) -> list[str | Path]:
        kept = recipe(bench.shape.recipe)
        changeable = {each.name for section, each in kept.fields() if section != "model"}
        changeable -= {"vocab_size", "vocabulary", "tokenizer"}
        fields = {name: value for name, value in bench.shape.fields.items() if name in changeable}
        fields |= {"precision": self.precision, "threads": bench.threads, "device": bench.device}
        fields |= {"log_every": 1, "max_steps": 1_000_000, "validate_every": 1_000_000, **self.options}
        flags = [part for name, value in fields.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        train = [self.python, "-m", "heedful", "train", "--init-from", bench.start, "--output", directory / "run"]
        return [*train, "--train", *bench.text.train, "--valid", *bench.one_pair, *flags]

    def progress(self, bench: Bench, directory: Path) -> Progress | None:
        return from_metrics(directory / "run" / "metrics.jsonl", bench)


@dataclass
class Marian(Contender):
    """Hugging Face's Marian in a plain loop."""

    python: Path
    precision: str
    imports: str = "torch, transformers; from transformers import MarianMTModel"
    same_start: bool = True

    def __post_init__(self) -> None:
        self.name = f"Hugging Face loop, {self.precision}"

    def command(self, bench: Bench, directory: Path) -> list[str | Path]:
        fields = bench.shape.fields
        return [
            *(self.python, "-m", "benchmarks.peers.hugging_face_train"),
            *("--model", bench.start, "--batches", bench.batches),
            *("--output", directory, "--precision", self.precision, "--threads", str(bench.threads)),
            *("--lr", str(fields["lr"]), "--warmup-steps", str(fields["warmup_steps"])),
            *("--clip-norm", str(fields["clip_norm"]), "--device", bench.device),
        ]

    def progress(self, bench: Bench, directory: Path) -> Progress | None:
        return from_metrics(directory / "metrics.jsonl", bench)


def contenders(shape: TrainingShape, pythons: Mapping[str, Path | None]) -> tuple[list[Contender], list[str]]:
    """Everybody who can train this shape and is installed, heedful first; and the names of those who are not."""
    precisions = set(get_args(get_type_hints(TrainingConfig)["precision"])) - {"auto"}
    ours = sorted(precisions, reverse=True)
    quarter = {"device-tokens": str(shape.fields["batch_tokens"] // 4)}  # what memory can be saved, and at what price
    found: list[Contender] = [Heedful(precision, options) for options in ({}, quarter) for precision in ours]
    makers = {
        "huggingface": lambda python: [Marian(python, "float32"), Marian(python, "bfloat16")],
        "joeynmt": lambda python: [Joey(python)],
        "eole": lambda python: [Eole(python)],
    }
    missing = [name for name in shape.peers if not pythons.get(name)]
    for name in shape.peers:
        if python := pythons.get(name):
            found += makers[name](python)
    return found, missing
