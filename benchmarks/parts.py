"""The parts of a training step that are ours beside torch's own: dropout, and projection with loss."""

import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from benchmarks.tables import table
from heedful.model.dropout import Dropout
from heedful.training.loss import label_smoothed_cross_entropy, projected_cross_entropy

VOCAB, POSITIONS, WIDTH = 8000, 2048, 128
Step = Callable[[], None]


def markdown(rounds: int, threads: int) -> str:
    """A table of milliseconds."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    rows = []
    for name, (first, second) in (("dropout", dropouts()), ("projection and loss", losses())):
        ours, theirs = in_turn(first, second, 5 * rounds)
        rows.append([name, f"{ours * 1e3:.1f}", f"{theirs * 1e3:.1f}", f"{theirs / ours:.1f}×"])
    torch.set_num_threads(before)
    return table(["forward and backward", "ms", "torch's own, ms", "ratio"], rows)


def in_turn(first: Step, second: Step, rounds: int) -> tuple[float, float]:
    """Median seconds of two functions that run alternately."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 2):
        for function, found in zip((first, second), seconds, strict=True):
            start = time.perf_counter()
            function()
            if number > 1:
                found.append(time.perf_counter() - start)
    return median(seconds[0]), median(seconds[1])


def dropouts() -> tuple[Step, Step]:
    """On [4096, 128]."""
    x = torch.randn(4096, WIDTH, requires_grad=True)
    gradient = torch.ones_like(x)
    modules = Dropout(0.1), nn.Dropout(0.1)

    def run(module: nn.Module) -> Step:
        return lambda: module(x).backward(gradient)

    return run(modules[0]), run(modules[1])


def losses() -> tuple[Step, Step]:
    """2,048 positions, 8,000 classes."""
    hidden = torch.randn(POSITIONS, WIDTH, requires_grad=True)
    projection = torch.randn(VOCAB, WIDTH, requires_grad=True)
    target = torch.randint(VOCAB, (POSITIONS,))

    def fused() -> None:
        projected_cross_entropy(hidden, projection, target, 0.1)[0].backward()

    def plain() -> None:
        label_smoothed_cross_entropy(hidden @ projection.T, target, 0.1)[0].backward()

    return fused, plain
