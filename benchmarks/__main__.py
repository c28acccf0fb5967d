"""heedful and its peers side by side, in one run; the tables go to docs/performance.md.

    python -m benchmarks [--quick] [--data DIR] [--model DIR] [--only SECTION…]

Peers are those that `python -m benchmarks.environments` installed; without one the others still run.
"""

import argparse
import signal
import sys
from pathlib import Path

import heedful
from benchmarks import parts, startup, training, translating
from benchmarks.environments import ENVIRONMENTS, PEERS, python_of
from benchmarks.plots import save_results
from benchmarks.processes import ROOT
from benchmarks.report import machine, replace_section
from benchmarks.shapes import SHAPES, shape
from benchmarks.text import LONG, Text, find_text

SECTIONS = ("parts", "training", "translating", "startup")
ROUNDS, QUICK_ROUNDS = 3, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=SECTIONS, default=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--shapes", nargs="+", choices=[each.name for each in SHAPES], help="shapes that are trained")
    kinds = translating.KINDS
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, metavar="KIND", help=", ".join(kinds))
    parser.add_argument("--data", type=Path, help="directory of Multi30k's files; fetched unless given")
    parser.add_argument("--model", type=Path, help="model with tied embeddings and sinusoids; trained unless given")
    parser.add_argument("--peers", type=Path, default=PEERS, help="where the peers' environments stand")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "bench", help="directory for everything made")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "performance.md", help="file to write to")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of every contender")
    parser.add_argument("--rounds", type=int, help=f"rounds, in turn; {ROUNDS} unless given")
    parser.add_argument("--long-lines", type=int, help=f"lines of the long file; {LONG:,} unless given, 0: none")
    parser.add_argument("--quick", action="store_true", help="one round, tiny and rnn-attention only, no long file")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # so that the contender at work ends too
    arguments.rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else ROUNDS)
    if "long" in arguments.kinds and "test" not in arguments.kinds:
        parser.error("the long file takes its settings from the test set: --kinds test long")
    if arguments.long_lines is None:
        arguments.long_lines = 0 if arguments.quick else LONG
    if not arguments.shapes:
        arguments.shapes = ["tiny", "rnn-attention"] if arguments.quick else [each.name for each in SHAPES]
    run(arguments)


def run(arguments: argparse.Namespace) -> None:
    """Section after section; each is written as soon as it is there."""
    work = arguments.work.resolve()
    pythons = {each.name: python_of(arguments.peers, each.name) for each in ENVIRONMENTS}
    rounds, threads = arguments.rounds, arguments.threads

    def write(name: str, content: str) -> None:
        print(f"\n{content}\n", flush=True)
        replace_section(arguments.report, name, f"{machine()}; {rounds} rounds.\n\n{content}")

    if "parts" in arguments.only:
        write("parts", parts.markdown(rounds, threads))
    if set(arguments.only) == {"parts"}:
        return
    text = find_text(arguments.data, work)
    if "training" in arguments.only:
        for name in arguments.shapes:
            comparison = training.compare(shape(name), text, work, pythons, rounds, threads)
            save_results(work / "results", f"training-{name}", "target tokens/s", training.speeds(comparison))
            write(f"training-{name}", training.markdown(comparison))
    if {"translating", "startup"} & set(arguments.only):
        model = (arguments.model or trained(text, work, threads)).resolve()
        bench = translating.Bench(
            model, text, work, pythons, threads=threads, long_lines=arguments.long_lines, kinds=arguments.kinds
        )
        if "translating" in arguments.only:
            bench.rounds(rounds)
            save_results(work / "results", "translating", "sentences/s", translating.speeds(bench))
            write("translating", translating.markdown(bench))
        if "startup" in arguments.only:
            write("startup", startup.markdown(model, work, pythons, rounds))


def trained(text: Text, work: Path, threads: int) -> Path:
    """A model for translating where none was given; kept for the next time."""
    path = work / "translator"
    print(f"training {path} for 8 minutes; pass --model DIR to use another", file=sys.stderr, flush=True)
    fields = shape("tiny").fields | {"batch_tokens": 2048, "ema_decay": 0.999, "threads": threads, "max_minutes": 8.0}
    heedful.train(train=text.train, valid=text.pair("val"), output=path, recipe="tiny", **fields)
    return path


if __name__ == "__main__":
    main()
