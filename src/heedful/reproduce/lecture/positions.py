"""Learned positions, sinusoids, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from heedful.model.config import TransformerConfig
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import Finding, Line, mean
from heedful.reproduce.lecture.generations import TRANSFORMER
from heedful.reproduce.lecture.tasks import LIST_LENGTHS, LONGER, LONGER_LISTS, TEST, dates_right
from heedful.reproduce.lecture.trainings import train_all
from heedful.reproduce.panels import COLOURS, MUTED, frame, legend, page
from heedful.reproduce.sheets import Sheet

_TESTS = (TEST, LONGER)
_TITLES = {
    TEST: f"lines as in training, up to {LIST_LENGTHS[1]} dates",
    LONGER: f"longer lines, {LONGER_LISTS[0]} and {LONGER_LISTS[1]} dates",
}
_MEASURES = ("lines right, %", "dates right, %")


@dataclass(frozen=True)
class Placed:
    """One training: both measures by test set."""

    positions: str
    seed: int
    scores: Mapping[str, tuple[float, float]]


def _models(transformer: TransformerConfig) -> dict[str, TransformerConfig]:
    """By the name of the positions."""
    return {
        "sinusoidal": transformer,
        "learned": replace(transformer, positions="learned"),
        "none": replace(transformer, positions="none"),
    }


def _make(bench: Bench) -> Finding:
    task = bench.dates()
    models = _models(bench.profile.transformer)
    files = {name: TRANSFORMER if name == "sinusoidal" else f"{TRANSFORMER}-positions-{name}" for name in models}
    trained = train_all(
        bench, task, {files[name]: model for name, model in models.items()}, bench.profile.steps, _TESTS
    )
    references = {test: [target for _, target in task.tests[test].pairs()] for test in _TESTS}

    def scores(answers: Sequence[str], test: str) -> tuple[float, float]:
        return task.score(answers, references[test]), dates_right(answers, references[test])

    found = [
        Placed(name, each.seed, {test: scores(each.answers[test], test) for test in _TESTS})
        for name in models
        for each in trained
        if each.name == files[name]
    ]
    numbers: list[Line] = [["positions", "seed", "test", "lines_right", "dates_right"]]
    numbers += [[each.positions, each.seed, test, *both] for each in found for test, both in each.scores.items()]
    note = f"Transformer on dates, {bench.profile.steps:,} updates, seeds {bench.seed_names}, greedy."
    rows = [["positions", *(f"{measure}: {test}" for test in _TESTS for measure in _MEASURES)]]
    for name in models:
        rows.append([name, *(f"{score:.1f}" for test in _TESTS for score in _means(found, name, test))])
    sheet = Sheet("Positions", f"{note} {TEST}: {_TITLES[TEST]}; {LONGER}: {_TITLES[LONGER]}.", rows)
    return Finding([sheet], numbers, _seen(found), lambda path: _draw(path, found))


def _names(found: Sequence[Placed]) -> list[str]:
    return list(dict.fromkeys(each.positions for each in found))


def _means(found: Sequence[Placed], name: str, test: str) -> tuple[float, float]:
    """Over seeds."""
    lines, right = zip(*(each.scores[test] for each in found if each.positions == name), strict=True)
    return mean(lines), mean(right)


def _seen(found: Sequence[Placed]) -> str:
    parts = []
    for test in _TESTS:
        scores = ", ".join(
            f"{lines:.1f} % of lines and {right:.1f} % of dates ({name})"
            for name in _names(found)
            for lines, right in [_means(found, name, test)]
        )
        parts.append(f"{_TITLES[test]}: {scores}")
    return f"right are, of {'; '.join(parts)}."


def _draw(path: Path, found: Sequence[Placed]) -> None:
    names = _names(found)
    width = 0.8 / len(names)
    with page(path, 10, 4.4, "Positions of the Transformer, on dates") as figure:
        panels = figure.subplots(1, len(_TESTS), sharey=True)
        for panel, test in zip(panels, _TESTS, strict=True):
            for place, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
                left = [measure + (place - (len(names) - 1) / 2) * width for measure in range(len(_MEASURES))]
                bars = panel.bar(left, _means(found, name, test), width * 0.92, color=colour, label=name)
                panel.bar_label(bars, fmt="%.1f", fontsize=9, color=MUTED)
            panel.set_xticks(range(len(_MEASURES)), _MEASURES)
            panel.set_ylim(0, 108)
            frame(panel, _TITLES[test])
        legend(figure, panels[0], columns=3)


EXPERIMENT = Experiment(
    "positions", "a Transformer has to be told where its tokens stand: by sinusoids or by learned vectors.", _make
)
