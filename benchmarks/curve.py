"""BLEU against minutes of the Hugging Face loop, as heedful's runs record it: for benchmarks/plots.py.

    python -m benchmarks.curve --output DIR [--data DIR] [--minutes 30] [--precision bfloat16]

The same text, vocabulary and shape as `tiny` of the bench; BLEU on the validation set by the recipe's beam.
"""

import argparse
import math
from pathlib import Path

from benchmarks.contenders import Marian
from benchmarks.environments import PEERS, python_of
from benchmarks.processes import ROOT, run
from benchmarks.shapes import shape
from benchmarks.text import find_text, save_batches, start_model
from heedful.recipes.named import recipe


def main() -> None:
    tiny, beam_size = shape("tiny"), recipe("tiny").training.validate_beam_size
    batch_tokens, dropout = tiny.fields["batch_tokens"], tiny.fields["dropout"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="directory for metrics.jsonl")
    parser.add_argument("--data", type=Path, help="directory of Multi30k's files; fetched unless given")
    parser.add_argument("--peers", type=Path, default=PEERS, help="where the peers' environments stand")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench", help="directory for everything made")
    parser.add_argument("--minutes", type=float, default=30.0, help="training and validation")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="bfloat16: autocast")
    parser.add_argument("--batch-tokens", type=int, default=batch_tokens, help="most tokens of a batch on either side")
    parser.add_argument("--dropout", type=float, default=dropout, help="dropout")
    parser.add_argument("--lr", type=float, default=5e-3, help="peak learning rate")
    parser.add_argument("--warmup-steps", type=int, default=1000, help="updates of warm-up")
    parser.add_argument("--validate-every", type=int, default=250, help="updates between two validations")
    parser.add_argument("--beam-size", type=int, default=beam_size, help="of validations; 1: greedy search")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()
    python = python_of(arguments.peers, "huggingface")
    if not python:
        raise SystemExit(f"no Hugging Face in {arguments.peers}; run `make bench-setup`")
    work = arguments.work.resolve()
    text = find_text(arguments.data, work)
    start = start_model(tiny, text, work)
    command = [python, "-m", "benchmarks.peers.hugging_face_train"]
    command += [
        "--model",
        start,
        "--output",
        arguments.output.resolve(),
        "--batches",
        save_batches(start, text, tiny.fields | {"batch_tokens": arguments.batch_tokens}, None),
        "--valid",
        *text.pair("val"),
    ]
    for name in ("minutes", "precision", "lr", "warmup_steps", "dropout", "validate_every", "beam_size", "threads"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    environment = Marian(python, arguments.precision).environment(arguments.threads)
    run(command, arguments.output.resolve() / "log.txt", environment, limit=math.inf)


if __name__ == "__main__":
    main()
