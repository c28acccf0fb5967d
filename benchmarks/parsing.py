"""What constrained decoding costs: a parser with its filter, and the same search without, in turn.

    python -m benchmarks.parsing MODEL TREES [--sentences 1000] [--words 25] [--beam-size 4] [--threads 2]

The text is the trees' words, cut into sentences of equal length. Both searches take the plain path. They may end at
different lengths, so what the filter costs is said from the time that is spent in it.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import median

import torch
from torch import Tensor

import heedful
from benchmarks.tables import table
from heedful.data.treebank.cleaning import clean_trees
from heedful.data.treebank.corpus import sentence
from heedful.decoding.filters import Demands, Filter
from heedful.decoding.parser import Parser
from heedful.decoding.tree_symbols import TreeSymbols


@dataclass
class Counted:
    """Demands whose filter is timed; without `inner` it lets everything through."""

    inner: Demands | None
    steps: int = 0
    seconds: float = 0.0

    def shortest(self, text: int) -> int:
        return self.inner.shortest(text) if self.inner else 1

    def filter(self, texts: Sequence[int], max_lengths: Tensor) -> Filter:
        inner = self.inner.filter(texts, max_lengths) if self.inner else None

        def step(log_probs: Tensor, tokens: Tensor, sentences: Tensor) -> Tensor:
            start = time.perf_counter()
            if inner:
                log_probs = inner(log_probs, tokens, sentences)
            self.steps += 1
            self.seconds += time.perf_counter() - start
            return log_probs

        return step


def measure(parser: Parser, texts: Sequence[str], rounds: int, **options: int) -> str:
    """A table of sentences and steps a second, medians over the rounds."""
    symbols = TreeSymbols(parser.config, parser.translator.tokenizers.target)
    kinds = {"constrained": symbols.of_texts(texts), "unconstrained": None}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    a_step, cost = {kind: list[float]() for kind in kinds}, list[float]()
    for number in range(rounds + 1):
        for kind, inner in kinds.items():
            demands = Counted(inner)
            some = texts if number else texts[:20]  # to warm up
            start = time.perf_counter()
            parser.translator.translate(some, demands=demands, **options)
            whole = time.perf_counter() - start
            if number:
                seconds[kind].append(whole)
                a_step[kind].append(whole / demands.steps)
                if inner:
                    cost.append(100 * demands.seconds / (whole - demands.seconds))
    rows = [[kind, f"{len(texts) / median(seconds[kind]):.1f}", f"{1e3 * median(a_step[kind]):.2f}"] for kind in kinds]
    found = table(["decoding", "sentences/s", "ms a step"], rows)
    return f"{found}\n\nthe filter adds {median(cost):.1f} % to what the search takes without it"


def texts_of(trees: Path, parser: Parser, sentences: int, words: int) -> list[str]:
    """Sentences of so many words; the trees' words again where they do not suffice."""
    found = list(chain.from_iterable(tree.words() for _, tree in clean_trees(trees, parser.config)))
    found *= -(-sentences * words // len(found))
    return [sentence(found[start : start + words]) for start in range(0, sentences * words, words)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL", help="a directory that train wrote with --train-trees")
    parser.add_argument("trees", type=Path, metavar="TREES", help="a file of bracketed trees")
    for name, default in (("sentences", 1000), ("words", 25), ("beam-size", 4), ("threads", 2), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=f"default {default}")
    parser.add_argument("--max-extra-tokens", type=int, metavar="N", help="default the model's")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = heedful.load_parser(arguments.model, device="cpu")
    texts = texts_of(arguments.trees, model, arguments.sentences, arguments.words)
    options = {"beam_size": arguments.beam_size, "max_extra_tokens": arguments.max_extra_tokens}
    print(measure(model, texts, arguments.rounds, **options))


if __name__ == "__main__":
    main()
