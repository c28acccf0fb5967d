"""Who trains side by side: how each is started, and what it says of its speed and its loss."""

import json
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args, get_type_hints

import yaml

from benchmarks.shapes import TrainingShape
from benchmarks.text import Text
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.recipes.named import recipe
from heedful.training.config import TrainingConfig


@dataclass(frozen=True)
class Bench:
    """What all contenders of a shape share."""

    shape: TrainingShape
    text: Text
    start: Path
    """heedful's model directory with the vocabulary and the first weights."""
    batches: Path
    one_pair: tuple[Path, Path]
    tokens: Sequence[int]
    """Real target tokens of each prepared batch."""
    threads: int
    device: str = "cpu"

    @property
    def last(self) -> int:
        """The last measured update."""
        return self.shape.warm_up + self.shape.measured


@dataclass(frozen=True)
class Progress:
    """What a contender has written down."""

    tokens_per_second: float
    losses: Sequence[float]
    """A target token's smoothed loss at every update that was told, in nats."""


class Contender(ABC):
    """A toolkit in one precision."""

    name: str
    python: Path
    imports: str
    """The modules whose memory is everybody's."""

    @abstractmethod
    def command(self, bench: Bench, directory: Path) -> list[str | Path]:
        """Trains in `directory`, for as many updates as it is let."""

    @abstractmethod
    def progress(self, bench: Bench, directory: Path) -> Progress | None:
        """None as long as the measured updates are not done."""

    def environment(self, threads: int) -> Mapping[str, str]:
        """Of its process."""
        return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}


@dataclass
class Heedful(Contender):
    """`heedful train` itself: everything a user waits for, but validation."""

    precision: str
    options: Mapping[str, str] = field(default_factory=dict)
    """More flags of `heedful train`."""
    imports: str = "heedful.recipes.run, heedful.cli.main"

    def __post_init__(self) -> None:
        self.python = Path(sys.executable)
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

    def __post_init__(self) -> None:
        self.name = f"Hugging Face loop, {self.precision}"

    def command(self, bench: Bench, directory: Path) -> list[str | Path]:
        fields = bench.shape.fields
        return [
            *(self.python, "-m", "benchmarks.peers.marian_train", "--model", bench.start, "--batches", bench.batches),
            *("--output", directory, "--precision", self.precision, "--threads", str(bench.threads)),
            *("--lr", str(fields["lr"]), "--warmup-steps", str(fields["warmup_steps"])),
            *("--clip-norm", str(fields["clip_norm"]), "--device", bench.device),
        ]

    def progress(self, bench: Bench, directory: Path) -> Progress | None:
        return from_metrics(directory / "metrics.jsonl", bench)


@dataclass
class Joey(Contender):
    """JoeyNMT's own command on the same files and the same vocabulary; batches of as many tokens, its own ones."""

    python: Path
    name: str = "JoeyNMT 2.3.0, float32"
    imports: str = "joeynmt.training"

    def command(self, bench: Bench, directory: Path) -> list[str | Path]:
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "joey.yaml"
        config.write_text(yaml.safe_dump(joey_config(bench, directory)))
        return [self.python, "-m", "joeynmt", "train", config, "--skip-test"]

    def progress(self, bench: Bench, directory: Path) -> Progress | None:
        lines = _joey_lines(directory / "run" / "train.log")
        # a line tells of the updates since the one before
        if len(lines) < bench.last:
            return None
        timed = [speed for _, speed in lines[bench.shape.warm_up : bench.last]]
        return Progress(len(timed) / sum(1 / speed for speed in timed), [loss for loss, _ in lines])


def contenders(shape: TrainingShape, pythons: Mapping[str, Path | None]) -> tuple[list[Contender], list[str]]:
    """Everybody who can train this shape and is installed, heedful first; and the names of those who are not."""
    precisions = get_args(get_type_hints(TrainingConfig)["precision"])
    found: list[Contender] = [Heedful(precision) for precision in precisions]
    missing = []
    transformer = isinstance(recipe(shape.recipe).model, TransformerConfig)
    if python := pythons["huggingface"]:
        found += [Marian(python, precision) for precision in ("float32", "bfloat16") if transformer]
    elif transformer:
        missing.append("Hugging Face loop")
    if python := pythons["joeynmt"]:
        found.append(Joey(python))
    else:
        missing.append("JoeyNMT")
    return found, missing


def from_metrics(path: Path, bench: Bench) -> Progress | None:
    """From metrics.jsonl, as heedful writes it: `minutes` is the time at which an update began."""
    if not path.exists():
        return None
    complete = path.read_text().rpartition("\n")[0].splitlines()
    records = [record for line in complete if "loss" in (record := json.loads(line))]
    if len(records) <= bench.last:
        return None
    begun = [60 * record["minutes"] for record in records]
    measured = slice(bench.shape.warm_up, bench.last)
    seconds = begun[measured.stop] - begun[measured.start]
    return Progress(sum(bench.tokens[measured]) / seconds, [record["loss"] for record in records])


def joey_config(bench: Bench, directory: Path) -> dict[str, object]:
    """The shape in JoeyNMT's words."""
    fields, start = bench.shape.fields, bench.start
    vocabulary = directory / "vocabulary.txt"
    vocabulary.write_text("".join(f"{piece}\n" for piece in _pieces(start)), encoding="utf-8")
    side = {
        "level": "bpe",
        "max_length": 256,
        "voc_file": str(vocabulary),
        "tokenizer_type": "sentencepiece",
        "tokenizer_cfg": {"model_file": str(start / "source.model")},
    }
    return {
        "name": bench.shape.name,
        "joeynmt_version": "2.3.0",
        "model_dir": str(directory / "run"),
        "use_cuda": False,
        "fp16": False,
        "random_seed": fields["seed"],
        "data": {
            "train": str(bench.text.train[0].with_suffix("")),
            "dev": str(bench.one_pair[0].with_suffix("")),
            "dataset_type": "plain",
            "src": {"lang": bench.text.source, **side},
            "trg": {"lang": bench.text.target, **side},
        },
        "testing": {"beam_size": 1, "batch_size": 1},
        "training": {
            "loss": "crossentropy",
            "normalization": "tokens",
            "label_smoothing": fields["label_smoothing"],
            "optimizer": "adam",
            "adam_betas": [0.9, 0.98],
            "learning_rate": fields["lr"],
            "scheduling": "warmupinversesquareroot",
            "learning_rate_warmup": fields["warmup_steps"],
            "learning_rate_min": 0.0,
            "clip_grad_norm": fields["clip_norm"],
            "batch_type": "token",
            "batch_size": fields["batch_tokens"],
            "epochs": 1000,
            "logging_freq": 1,
            "validation_freq": 1_000_000,
            "shuffle": True,
            "print_valid_sents": [],
        },
        "model": _joey_model(recipe(bench.shape.recipe).override(bench.shape.fields).model),
    }


def _joey_model(model: TransformerConfig | RecurrentConfig) -> dict[str, object]:
    if isinstance(model, TransformerConfig):
        common = {
            "type": "transformer",
            "num_layers": model.layers,
            "num_heads": model.heads,
            "hidden_size": model.d_model,
            "ff_size": model.d_ff,
            "dropout": model.dropout,
            "layer_norm": "post",
            "embeddings": {"embedding_dim": model.d_model, "scale": True, "dropout": model.dropout},
        }
        start = {"initializer": "xavier_uniform", "embed_initializer": "xavier_uniform"}
        tied = {"tied_embeddings": True, "tied_softmax": True}
        return {**start, **tied, "encoder": common, "decoder": common}
    embeddings = {"embedding_dim": model.d_embedding or model.d_model, "scale": False, "dropout": model.dropout}
    common = {"type": "recurrent", "rnn_type": model.cell, "num_layers": model.layers, "embeddings": embeddings}
    return {
        "tied_embeddings": False,
        "tied_softmax": False,
        "encoder": {**common, "hidden_size": model.d_model // 2, "bidirectional": True, "dropout": model.dropout},
        "decoder": {
            **common,
            "hidden_size": model.d_model,
            "dropout": model.dropout,
            "hidden_dropout": model.dropout,
            "init_hidden": "bridge",
            "attention": "luong",
            "input_feeding": model.input_feeding,
        },
    }


def _joey_lines(path: Path) -> list[tuple[float, float]]:
    """Loss and tokens a second of every line that reports an update."""
    pattern = re.compile(r"Batch Loss: +([\d.]+).*Tokens per Sec: +([\d.]+),")
    text = path.read_text(errors="replace") if path.exists() else ""
    return [(float(loss), float(speed)) for loss, speed in pattern.findall(text)]


def _pieces(start: Path) -> list[str]:
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor(model_file=str(start / "source.model"))
    return [processor.id_to_piece(number) for number in range(processor.vocab_size())]
