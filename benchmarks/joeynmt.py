"""JoeyNMT 2.3.0, driven by its own configuration and command."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.contender import Bench, Contender, Progress, pieces
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.recipes.named import recipe


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


def joey_config(bench: Bench, directory: Path) -> dict[str, object]:
    """The shape in JoeyNMT's words."""
    fields, start = bench.shape.fields, bench.start
    vocabulary = directory / "vocabulary.txt"
    vocabulary.write_text("".join(f"{piece}\n" for piece in pieces(start)), encoding="utf-8")
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
