"""Eole 0.6.4, driven by its own configuration and command. Its Transformer is pre-norm, so losses do not compare."""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.contender import Bench, Contender, Progress, pieces
from heedful.model.config import TransformerConfig
from heedful.recipes.named import recipe

_WARM_UP, _MEASURED = 2, 5
"""Updates: fewer than the others have, since each takes seconds."""


@dataclass
class Eole(Contender):
    """`eole train` on the same files and the same vocabulary; batches of as many tokens, its own ones."""

    python: Path
    name: str = "Eole 0.6.4, float32"
    imports: str = "eole.bin.main"

    def command(self, bench: Bench, directory: Path) -> list[str | Path]:
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "eole.yaml"
        config.write_text(yaml.safe_dump(eole_config(bench, directory)))
        # what it prints: the file that it logs to itself stays behind
        redirect = 'exec "$0" train -config "$1" > "$2" 2>&1'
        return ["bash", "-c", redirect, self.python.with_name("eole"), config, directory / "train.log"]

    def progress(self, bench: Bench, directory: Path) -> Progress | None:
        log = directory / "train.log"
        text = log.read_text(errors="replace") if log.exists() else ""
        # … xent: 9.02; … bsz: SOURCE/TARGET/SENTENCES; SOURCE/TARGET tok/s; …
        lines = re.findall(r"xent: ([\d.]+);.*?(\d+)/ *(\d+) tok/s", text)
        if len(lines) < _WARM_UP + _MEASURED:
            return None
        timed = [float(speed) for _, _, speed in lines[_WARM_UP : _WARM_UP + _MEASURED]]
        return Progress(len(timed) / sum(1 / speed for speed in timed), [float(loss) for loss, _, _ in lines])


def eole_config(bench: Bench, directory: Path) -> dict[str, object]:
    """The shape in Eole's words."""
    fields, model = bench.shape.fields, recipe(bench.shape.recipe).override(bench.shape.fields).model
    if not isinstance(model, TransformerConfig):
        raise TypeError("only Transformers are compared with Eole")
    vocabulary, special = directory / "vocabulary.txt", 4
    own = pieces(bench.start)
    vocabulary.write_text("".join(f"{piece}\t1\n" for piece in own[special:]), encoding="utf-8")
    subwords = str(bench.start / "source.model")
    source, target = bench.text.train
    return {
        "seed": fields["seed"],
        "share_vocab": True,
        "src_vocab": str(vocabulary),
        "src_vocab_size": len(own),
        "tgt_vocab_size": len(own),
        "vocab_size_multiple": 1,
        "overwrite": True,
        "save_data": str(directory / "run"),
        "report_every": 1,
        "data": {
            "corpus": {
                "path_src": str(source),
                "path_tgt": str(target),
                "transforms": ["sentencepiece", "filtertoolong"],
            }
        },
        "transforms_configs": {
            "sentencepiece": {"src_subword_model": subwords, "tgt_subword_model": subwords},
            "filtertoolong": {"src_seq_length": 256, "tgt_seq_length": 256},
        },
        "training": {
            "model_path": str(directory / "model"),
            "batch_size": fields["batch_tokens"],
            "batch_type": "tokens",
            "bucket_size": 30_000,  # about an epoch; as much is sorted by length
            "normalization": "tokens",
            "world_size": 0,
            "gpu_ranks": [],
            "num_workers": 0,
            "compute_dtype": "fp32",
            "optim": "adam",
            "adam_beta2": 0.98,
            "learning_rate": fields["lr"],
            "warmup_steps": fields["warmup_steps"],
            "decay_method": "noam",
            "label_smoothing": fields["label_smoothing"],
            "max_grad_norm": fields["clip_norm"],
            "dropout": [model.dropout],
            "attention_dropout": [model.attention_dropout],
            "train_steps": 1_000_000,
            "valid_steps": 1_000_000,
            "save_checkpoint_steps": 1_000_000,
        },
        "model": {
            "architecture": "transformer",
            "layers": model.layers,
            "heads": model.heads,
            "hidden_size": model.d_model,
            "transformer_ff": model.d_ff,
            "share_embeddings": True,
            "share_decoder_embeddings": True,
            "embeddings": {"word_vec_size": model.d_model, "position_encoding_type": "SinusoidalInterleaved"},
        },
    }
