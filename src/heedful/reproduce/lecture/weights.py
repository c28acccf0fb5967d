"""Softmax of the scores as weights, or the scores as they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch

import heedful
from heedful.data.batches import collate_pairs
from heedful.model.config import RecurrentConfig
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import Finding, Line, mean, three
from heedful.reproduce.lecture.generations import ATTENTIVE, generations
from heedful.reproduce.lecture.tasks import TEST, Task
from heedful.reproduce.lecture.trainings import Trained, train_all
from heedful.reproduce.panels import COLOURS, MUTED, frame, legend, logarithmic, page
from heedful.reproduce.sheets import Sheet

_SENTENCES = 100
"""Whose weights are looked at."""
RAW = f"{ATTENTIVE}-raw"


@dataclass(frozen=True)
class Weighed:
    """One training, and the weights of its model on test sentences."""

    name: str
    seed: int
    curve: Sequence[tuple[int, float, float]]
    """Step, loss, gradient norm."""
    score: float
    perplexity: float | None
    """None: it diverged, and has no weights."""
    least: float = 0.0
    most: float = 0.0
    least_sum: float = 0.0
    """Over a sentence's source tokens, for one target token."""
    most_sum: float = 0.0

    @property
    def highest(self) -> float:
        """The highest gradient norm."""
        return max((norm for _, _, norm in self.curve), default=float("nan"))


def _curve(directory: Path) -> list[tuple[int, float, float]]:
    lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    return [(each["step"], each["loss"], each["gradient_norm"]) for each in records if "gradient_norm" in each]


def _weighed(trained: Trained, task: Task) -> Weighed:
    references = [target for _, target in task.tests[TEST].pairs()]
    score, curve = task.score(trained.answers[TEST], references), _curve(trained.directory)
    if trained.result is None:
        return Weighed(trained.name, trained.seed, curve, score, None)
    translator = heedful.load(trained.directory)
    [model], tokenizers = translator.models, translator.tokenizers
    pairs = list(islice(task.tests[TEST].pairs(), _SENTENCES))
    batch = collate_pairs(
        [tokenizers.source.encode(source) for source, _ in pairs],
        [tokenizers.target.encode(target) for _, target in pairs],
    ).to(model.device)
    with torch.no_grad():
        record = model.attention(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
    assert record.cross is not None  # of a model with attention
    weights = record.cross[0][:, 0]
    sums = weights.sum(-1)[batch.target_mask]
    real = weights[batch.target_mask.unsqueeze(2) & batch.source_mask.unsqueeze(1)]
    ends = [float(end) for each in (real, sums) for end in (each.min(), each.max())]
    return Weighed(trained.name, trained.seed, curve, score, trained.result.perplexity, *ends)


def _make(bench: Bench) -> Finding:
    task = bench.dates()
    softmax = generations(bench.profile.transformer, task.data.vocab_size)[ATTENTIVE]
    assert isinstance(softmax, RecurrentConfig)
    models = {ATTENTIVE: softmax, RAW: replace(softmax, attention_weights="raw")}
    found = [_weighed(each, task) for each in train_all(bench, task, models, bench.profile.steps)]
    note = (
        f"The RNN with attention on dates; {bench.profile.steps:,} updates with the gradient clipped to 1, "
        f"{task.metric} of the test set, perplexity of the validation set, the highest gradient norm among those "
        f"logged; weights and their sums over the source, of {_SENTENCES} test sentences at most."
    )
    header = ["model", "seed", task.metric, "perplexity", "highest gradient norm", "weights", "their sums"]
    rows = [header, *(_row(each) for each in found)]
    numbers: list[Line] = [["model", "seed", "step", "loss", "gradient_norm"]]
    numbers += [[each.name, each.seed, *line] for each in found for line in each.curve]
    return Finding(
        [Sheet("Softmax or raw scores as weights", note, rows)],
        numbers,
        _seen(found, task.metric),
        lambda path: _draw(path, found),
    )


def _row(each: Weighed) -> list[str]:
    if each.perplexity is None:
        return [each.name, str(each.seed), f"{each.score:.1f}", "diverged", three(each.highest), "", ""]
    spans = ((each.least, each.most), (each.least_sum, each.most_sum))
    return [
        *(each.name, str(each.seed), f"{each.score:.1f}", three(each.perplexity), three(each.highest)),
        *(f"{three(least)} … {three(most)}" for least, most in spans),
    ]


def _by_name(found: Sequence[Weighed]) -> Mapping[str, list[Weighed]]:
    names = dict.fromkeys(each.name for each in found)
    return {name: [each for each in found if each.name == name] for name in names}


def _seen(found: Sequence[Weighed], metric: str) -> str:
    parts = []
    for name, runs in _by_name(found).items():
        whole = [each for each in runs if each.perplexity is not None]
        part = (
            f"{name}: {mean([each.score for each in runs]):.1f} {metric}, "
            f"highest gradient norm {three(max(each.highest for each in runs))}"
        )
        if whole:
            least, most = min(each.least for each in whole), max(each.most for each in whole)
            sums = min(each.least_sum for each in whole), max(each.most_sum for each in whole)
            part += f", weights of {three(least)} to {three(most)} with sums of {three(sums[0])} to {three(sums[1])}"
        if len(whole) < len(runs):
            part += f", {len(runs) - len(whole)} of {len(runs)} trainings diverged"
        parts.append(part)
    return f"{'; '.join(parts)}."


def _draw(path: Path, found: Sequence[Weighed]) -> None:
    with page(path, 10, 4.6, "Softmax or raw scores as weights of the RNN's attention, on dates") as figure:
        panels = figure.subplots(1, 2)
        for (name, runs), colour in zip(_by_name(found).items(), COLOURS, strict=False):
            for each in runs:
                steps, losses, norms = zip(*each.curve, strict=True) if each.curve else ((), (), ())
                label = name if each is runs[0] else None
                panels[0].plot(steps, losses, color=colour, label=label, linewidth=1.6)
                panels[1].plot(steps, norms, color=colour, linewidth=1.6)
        for panel, title in zip(panels, ("training loss, nats a token", "gradient norm, before clipping"), strict=True):
            panel.set_xlabel("updates", color=MUTED)
            frame(panel, title)
        panels[1].set_yscale("log")
        logarithmic(panels[1].yaxis)
        legend(figure, panels[0], columns=2)


EXPERIMENT = Experiment(
    "weights", "scores as they are make no good weights: they are not normalised, and the weights unstable.", _make
)
