"""The trainings of an experiment, and what their models answer: queued, resumable, never done twice."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import heedful
from heedful import checkpoint
from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError
from heedful.model.config import ModelConfig
from heedful.recipes.config import Recipe
from heedful.reproduce.lecture.bench import Bench
from heedful.reproduce.lecture.tasks import TEST, Task
from heedful.reproduce.queue import Result, Run, identities, is_of, results, work
from heedful.training.config import TrainingConfig
from heedful.training.trainer import DivergenceError

_DIVERGED = "diverged.json"


class StoppedError(Exception):
    """A signal ended a training, which goes on with the same command."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


@dataclass(frozen=True)
class Trained:
    """One model of one seed."""

    name: str
    seed: int
    directory: Path
    result: Result | None
    """None: its loss or gradient became infinite."""
    answers: Mapping[str, Sequence[str]]
    """To each test set; blank lines where it diverged."""


def train_all(
    bench: Bench, task: Task, models: Mapping[str, ModelConfig], steps: int, tests: Sequence[str] = (TEST,)
) -> list[Trained]:
    """Every model with every seed, the first seed of all of them first. Raises `StoppedError`.

    Models of equal names on one task are one training, whatever experiment asks for it.
    """
    runs = {
        Run(f"{task.name}-{name}", _recipe(task, name, model, steps, bench), task.train, task.valid, seed): name
        for seed in bench.seeds
        for name, model in models.items()
    }
    _work(list(runs), bench.models)
    found = results(list(runs), bench.models)
    trained = []
    for run, name in runs.items():
        directory, result = run.directory(bench.models), found.get(run)
        answers = {test: _answers(directory, task, test, bench) if result else _blank(task, test) for test in tests}
        trained.append(Trained(name, run.seed, directory, result, answers))
    return trained


def _recipe(task: Task, name: str, model: ModelConfig, steps: int, bench: Bench) -> Recipe:
    training = TrainingConfig(
        schedule="inverse-sqrt",
        lr=bench.profile.lr,
        warmup_steps=max(1, steps // 10),
        label_smoothing=0.0,
        clip_norm=1.0,
        ema_decay=0.99,
        validate_every=steps,
        log_every=max(1, steps // 50),
        max_steps=steps,
        keep_last=1,
        keep_best=1,
        device=str(bench.device),
    )
    return Recipe(name, "", model, task.data, training, SearchConfig(beam_size=1))


def _work(runs: Sequence[Run], root: Path) -> None:
    """Until each run is finished or has diverged, which is written down beside it."""
    of = identities(runs)
    while left := [run for run in runs if not _diverged(run, root, of[run])]:
        try:
            done = work(left, root)
        except HeedfulError as error:
            if not isinstance(error.__cause__, DivergenceError):
                raise
            finished = results(left, root)
            at = next(run for run in left if run not in finished)
            record = {"reason": str(error), "of": of[at]}
            checkpoint.write_file(at.directory(root) / _DIVERGED, checkpoint.to_json(record))
            continue
        if done.signal:
            raise StoppedError(done.signal)
        return


def _diverged(run: Run, root: Path, identity: Mapping[str, Any]) -> bool:
    """As this run; one of another recipe or data says nothing."""
    path = run.directory(root) / _DIVERGED
    return path.exists() and is_of(json.loads(path.read_bytes())["of"], identity, run.recipe)


def _blank(task: Task, test: str) -> list[str]:
    return [""] * sum(1 for _ in task.tests[test].pairs())


def _answers(directory: Path, task: Task, test: str, bench: Bench) -> list[str]:
    """What the model translates the test set to, from its file where that is there."""
    corpus, path = task.tests[test], directory / f"{test}.json"
    of = {"weights": checkpoint.best(directory).files["model.safetensors"], "test": corpus.digest()}
    if path.exists() and (known := json.loads(path.read_bytes()))["of"] == of:
        lines: list[str] = known["answers"]
        return lines
    translator = heedful.load(directory, device=str(bench.device))
    lines = [each.text for each in translator.translate([source for source, _ in corpus.pairs()])]
    checkpoint.write_file(path, checkpoint.to_json({"of": of, "answers": lines}))
    return lines
