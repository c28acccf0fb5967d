"""Does recurrence wait? Time per token of the forward and of the backward pass, against length."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.benchmark import Timer

from heedful.data.batches import Batch
from heedful.model.build import build_model
from heedful.model.seq2seq import Seq2Seq
from heedful.progress import progress
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import Finding, Line, three
from heedful.reproduce.lecture.generations import RNN, TRANSFORMER, generations, sizes
from heedful.reproduce.lecture.gradient import VOCAB, random_batch
from heedful.reproduce.panels import COLOURS, MUTED, frame, legend, logarithmic, page
from heedful.reproduce.sheets import Sheet

ALONE, BATCH = "one sentence", "batch"
_KINDS = (ALONE, BATCH)
_PASSES = ("forward", "backward")


@dataclass(frozen=True)
class Times:
    """Seconds of the two passes over one batch; medians."""

    forward: float
    backward: float


Found = Mapping[tuple[str, str, int], Times]
"""Of a token, by model, kind and length."""


def measure(model: Seq2Seq[Any, Any], batch: Batch, seconds: float) -> Times:
    """From tokens to hidden states and back to every weight, without the projection, which all models have alike."""
    weights = list(model.parameters())  # the projection's are an embedding's too

    def forward() -> torch.Tensor:
        hidden: torch.Tensor = model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
        return hidden

    loss = forward().sum()

    def backward() -> None:
        torch.autograd.grad(loss, weights, retain_graph=True)

    return Times(_median(forward, seconds), _median(backward, seconds))


def _median(work: Callable[[], object], seconds: float) -> float:
    timer = Timer("work()", globals={"work": work}, num_threads=torch.get_num_threads())
    timer.timeit(1)  # kernels are chosen, memory is taken
    return timer.adaptive_autorange(min_run_time=seconds / 50, max_run_time=seconds).median


def _make(bench: Bench) -> Finding:
    profile = bench.profile
    configs = generations(profile.transformer, VOCAB)
    models = {}
    for name, config in configs.items():
        torch.manual_seed(bench.seeds[0])
        models[name] = build_model(config, VOCAB, VOCAB).to(bench.device)
    found: dict[tuple[str, str, int], Times] = {}
    with progress("sequential", total=len(profile.lengths)) as meter:
        for done, n in enumerate(profile.lengths):
            meter.update(done, f"n = {n}")
            for kind, sentences in ((ALONE, 1), (BATCH, max(1, profile.tokens // n))):
                batch = random_batch(sentences, n, n, seed=n).to(bench.device)
                for name, model in models.items():  # one after the other, so that what else runs meets all of them
                    times = measure(model, batch, profile.seconds)
                    found[name, kind, n] = Times(times.forward / (sentences * n), times.backward / (sentences * n))
    sheets = [_sheet(found, kind, direction, bench, sizes(configs, VOCAB)) for kind in _KINDS for direction in _PASSES]
    numbers: list[Line] = [["model", "sentences", "n", "forward_seconds", "backward_seconds"]]
    numbers += [[name, kind, n, each.forward, each.backward] for (name, kind, n), each in found.items()]
    return Finding(sheets, numbers, _seen(found), lambda path: _draw(path, found))


def _names(found: Found) -> list[str]:
    return list(dict.fromkeys(name for name, _, _ in found))


def _lengths(found: Found) -> list[int]:
    return list(dict.fromkeys(n for _, _, n in found))


def _sheet(found: Found, kind: str, direction: str, bench: Bench, parameters: str) -> Sheet:
    what = "one sentence" if kind == ALONE else f"sentences, {bench.profile.tokens:,} tokens in all"
    note = (
        f"Microseconds a token of {what}, n tokens in the source and as many in the target; {parameters} parameters, "
        "float32, dropout on, without the projection."
    )
    rows = [["model", *(f"n = {n}" for n in _lengths(found))]]
    for name in _names(found):
        rows.append([name, *(three(1e6 * getattr(found[name, kind, n], direction)) for n in _lengths(found))])
    return Sheet(f"{direction.capitalize()} pass, {kind}", note, rows)


def _seen(found: Found) -> str:
    """Of both passes together."""

    def both(name: str, kind: str, n: int) -> float:
        return found[name, kind, n].forward + found[name, kind, n].backward

    first, last = _lengths(found)[0], _lengths(found)[-1]
    parts = []
    for kind in _KINDS:
        changes = ", ".join(
            f"{three(both(name, kind, last) / both(name, kind, first))} ({name})" for name in _names(found)
        )
        ratio = three(both(RNN, kind, last) / both(TRANSFORMER, kind, last))
        parts.append(
            f"{kind}: from {first} to {last} tokens the time of a token is multiplied by {changes}, and at {last} "
            f"the {RNN} takes {ratio} times as long as the {TRANSFORMER}"
        )
    return f"both passes, {'; '.join(parts)}."


def _draw(path: Path, found: Found) -> None:
    with page(path, 10, 7.2, "Time of a token, forward and backward pass") as figure:
        panels = figure.subplots(2, 2, sharex=True, sharey="row")
        for row, kind in zip(panels, _KINDS, strict=True):
            for panel, direction in zip(row, _PASSES, strict=True):
                for name, colour in zip(_names(found), COLOURS, strict=False):
                    times = [1e6 * getattr(found[name, kind, n], direction) for n in _lengths(found)]
                    panel.plot(_lengths(found), times, color=colour, label=name, marker="o", markersize=3.5)
                panel.set_xscale("log", base=2)
                panel.set_yscale("log")
                logarithmic(panel.yaxis)
                panel.set_xticks(_lengths(found), [str(n) for n in _lengths(found)])
                frame(panel, f"{direction}, {kind}")
            row[0].set_ylabel("microseconds a token", color=MUTED)
        for panel in panels[-1]:
            panel.set_xlabel("n, tokens of source and of target", color=MUTED)
        legend(figure, panels[0][0], columns=3)


EXPERIMENT = Experiment(
    "sequential",
    "an RNN's state needs the one before, so nothing of a sentence can be computed in parallel.",
    _make,
)
