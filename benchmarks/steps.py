"""Speed of training steps, and of the parts that are ours beside torch's own: ratios taken in turn, in one run.

    python benchmarks/steps.py [--rounds 9] [--threads 2]

Needs no data: token ids are random, lengths are Multi30k's means. Prints medians; compare ratios, not milliseconds.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from heedful.model.build import build_model
from heedful.model.dropout import Dropout
from heedful.recipes.named import recipe
from heedful.training.loss import label_smoothed_cross_entropy, projected_cross_entropy
from heedful.training.optimizer import make_optimizer

VOCAB, SOURCE, TARGET = 8000, 14, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {arguments.threads} threads, medians of {arguments.rounds} rounds\n")
    for name, (first, second) in (("dropout", dropouts()), ("projection and loss", losses())):
        ours, theirs = in_turn(first, second, arguments.rounds)
        print(f"{name:22} {ours * 1e3:8.1f} ms, torch's {theirs * 1e3:8.1f} ms: {theirs / ours:.1f}x")
    for name in ("rnn", "rnn-attention", "tiny"):
        step, tokens = training_step(name)
        seconds, _ = in_turn(step, step, arguments.rounds)
        print(f"{name:22} {seconds * 1e3:8.1f} ms a step of {tokens} target tokens: {tokens / seconds:.0f} tokens/s")


def in_turn(first: Callable[[], None], second: Callable[[], None], rounds: int) -> tuple[float, float]:
    """Median seconds of two functions that run alternately."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 2):
        for function, found in zip((first, second), seconds, strict=True):
            start = time.perf_counter()
            function()
            if number > 1:
                found.append(time.perf_counter() - start)
    return median(seconds[0]), median(seconds[1])


def dropouts() -> tuple[Callable[[], None], Callable[[], None]]:
    x = torch.randn(4096, 128, requires_grad=True)
    gradient = torch.ones_like(x)
    modules = Dropout(0.1), nn.Dropout(0.1)

    def run(module: nn.Module) -> Callable[[], None]:
        return lambda: module(x).backward(gradient)

    return run(modules[0]), run(modules[1])


def losses() -> tuple[Callable[[], None], Callable[[], None]]:
    hidden = torch.randn(2048, 128, requires_grad=True)
    projection = torch.randn(VOCAB, 128, requires_grad=True)
    target = torch.randint(VOCAB, (2048,))

    def fused() -> None:
        projected_cross_entropy(hidden, projection, target, 0.1)[0].backward()

    def plain() -> None:
        label_smoothed_cross_entropy(hidden @ projection.T, target, 0.1)[0].backward()

    return fused, plain


def training_step(name: str) -> tuple[Callable[[], None], int]:
    """Forward, loss, backward and update on a full batch without padding."""
    chosen = recipe(name)
    model = build_model(chosen.model, VOCAB, VOCAB)
    optimizer = make_optimizer(model, chosen.training)
    sentences = chosen.data.batch_tokens // TARGET
    source, target = (torch.randint(4, VOCAB, (sentences, length)) for length in (SOURCE, TARGET))
    masks = [torch.ones_like(tokens, dtype=torch.bool) for tokens in (source, target)]

    def step() -> None:
        hidden = model(source, masks[0], target, masks[1])
        loss, _ = projected_cross_entropy(hidden[masks[1]], model.projection.weight, target[masks[1]], 0.1)
        (loss / target.numel()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step, target.numel()


if __name__ == "__main__":
    main()
