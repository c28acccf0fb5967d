"""What does a fixed-length vector cost? Quality by source length of the three generations."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heedful.evaluation.lengths import LengthScore
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import Finding, Line, mean
from heedful.reproduce.lecture.generations import generations
from heedful.reproduce.lecture.tasks import TEST, Task
from heedful.reproduce.lecture.trainings import Trained, train_all
from heedful.reproduce.panels import COLOURS, MUTED, frame, legend, page
from heedful.reproduce.sheets import Sheet


@dataclass(frozen=True)
class Scored:
    """One task: scores by model, for every seed those of each group of lengths."""

    task: str
    metric: str
    unit: str
    parameters: Mapping[str, int | None]
    """None where all seeds diverged."""
    scores: Mapping[str, Sequence[Sequence[LengthScore]]]

    @property
    def groups(self) -> list[LengthScore]:
        """Of lengths, shortest first."""
        return list(next(iter(self.scores.values()))[0])

    def means(self, name: str) -> list[float]:
        """Over seeds, of every group."""
        return [mean([each.score for each in group]) for group in zip(*self.scores[name], strict=True)]


def _scored(task: Task, trained: Sequence[Trained]) -> Scored:
    names = list(dict.fromkeys(each.name for each in trained))
    return Scored(
        task.name,
        task.metric,
        task.unit,
        {name: next((e.result.parameters for e in trained if e.name == name and e.result), None) for name in names},
        {name: [task.by_length(e.answers[TEST]) for e in trained if e.name == name] for name in names},
    )


def _make(bench: Bench) -> Finding:
    found = []
    for task in bench.tasks():
        models = generations(bench.profile.transformer, task.data.vocab_size)
        found.append(_scored(task, train_all(bench, task, models, bench.profile.steps)))
    numbers: list[Line] = [["task", "model", "seed", "shortest", "longest", "sentences", "score"]]
    for scored in found:
        for name, by_seed in scored.scores.items():
            for seed, groups in zip(bench.seeds, by_seed, strict=True):
                for each in groups:
                    longest = "" if each.longest is None else each.longest
                    numbers.append([scored.task, name, seed, each.shortest, longest, each.sentences, each.score])
    sheets = [_sheet(scored, bench) for scored in found]
    return Finding(sheets, numbers, _seen(found), lambda path: _draw(path, found))


def _sheet(scored: Scored, bench: Bench) -> Sheet:
    note = (
        f"{scored.metric} by {scored.unit} of the source, on sentences that no training saw; "
        f"{bench.profile.steps:,} updates, seeds {bench.seed_names}, greedy."
    )
    rows = [["model", "parameters", *(group.label for group in scored.groups)]]
    for name, count in scored.parameters.items():
        shown = "diverged" if count is None else f"{count:,}"
        rows.append([name, shown, *(f"{score:.1f}" for score in scored.means(name))])
    rows.append(["sentences", "", *(str(group.sentences) for group in scored.groups)])
    return Sheet(f"{scored.task.capitalize()}: {scored.metric} by length", note, rows)


def _seen(found: Sequence[Scored]) -> str:
    parts = []
    for scored in found:
        ends = scored.groups[0].label, scored.groups[-1].label
        changes = ", ".join(
            f"{means[0]:.1f} → {means[-1]:.1f} ({name})" for name in scored.scores for means in [scored.means(name)]
        )
        parts.append(
            f"{scored.task}, from {ends[0]} to {ends[1]} {scored.unit} of the source, {scored.metric}: {changes}"
        )
    return f"{'; '.join(parts)}."


def _draw(path: Path, found: Sequence[Scored]) -> None:
    with page(path, 6.5 * len(found), 4.8, "Quality by source length, equal parameters and updates") as figure:
        panels = figure.subplots(1, len(found), squeeze=False)[0]
        for panel, scored in zip(panels, found, strict=True):
            places = range(len(scored.groups))
            for (name, by_seed), colour in zip(scored.scores.items(), COLOURS, strict=False):
                panel.plot(places, scored.means(name), color=colour, label=name, marker="o", markersize=4)
                for groups in by_seed if len(by_seed) > 1 else ():
                    panel.plot(places, [each.score for each in groups], ".", color=colour, markersize=3, alpha=0.6)
            panel.set_xticks(places, [group.label for group in scored.groups])
            panel.set_ylim(bottom=0)
            panel.set_xlabel(f"{scored.unit} of the source", color=MUTED)
            panel.set_ylabel(scored.metric, color=MUTED)
            frame(panel, scored.task)
        legend(figure, panels[0], columns=3)


EXPERIMENT = Experiment(
    "bottleneck",
    "the encoder's output has a fixed length whatever the sentence's, so not all of a long one can be used.",
    _make,
)
