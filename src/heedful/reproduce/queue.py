"""Trainings of an experiment, one after the other: what is done stays done, what was interrupted goes on.

    DIR/NAME/seed-S/               a model directory like any other
    DIR/NAME/seed-S/result.json    what the run came to, and the recipe and data it is the result of

Knows no experiment: it is given recipes and hands back scores.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from heedful import checkpoint
from heedful.data.corpus import Corpus
from heedful.data.tokenizer import Tokenizers
from heedful.errors import HeedfulError
from heedful.model.complexity import parameters
from heedful.recipes.config import Recipe
from heedful.recipes.job import Job
from heedful.recipes.run import run as train
from heedful.training import distributed

logger = logging.getLogger("heedful")

_RESULT = "result.json"


@dataclass(frozen=True)
class Run:
    """A named training: a recipe under a seed, on data."""

    name: str
    recipe: Recipe
    train: Corpus
    valid: Corpus
    seed: int = 1

    def directory(self, root: Path) -> Path:
        """The model directory."""
        return root / self.name / f"seed-{self.seed}"

    def job(self, root: Path) -> Job:
        """As `heedful train` would have it."""
        training = replace(self.recipe.training, seed=self.seed)
        return Job(replace(self.recipe, training=training), [self.train], [1.0], self.valid, self.directory(root))


@dataclass(frozen=True)
class Result:
    """What a finished run came to: scores on the validation set of the last checkpoint, without averaging."""

    perplexity: float
    bleu: float
    parameters: int
    step: int
    seconds: float
    """Training and validation."""


@dataclass(frozen=True)
class Finished:
    """A run and its result."""

    run: Run
    result: Result


@dataclass(frozen=True)
class Worked:
    """What stands after a walk through the queue; `signal` is set where one ended it early."""

    finished: Sequence[Finished]
    left: Sequence[Run]
    signal: int | None = None


def results(runs: Sequence[Run], root: Path) -> dict[Run, Result]:
    """Of those that are finished, in their order. Trains nothing."""
    found = {run: _result(run, root, identity) for run, identity in identities(runs).items()}
    return {run: result for run, result in found.items() if result}


def identities(runs: Sequence[Run]) -> dict[Run, dict[str, Any]]:
    """What the result of each is the result of, as JSON has it; a corpus is read once, however many runs it is for."""
    digests = {corpus: corpus.digest() for corpus in {each for run in runs for each in (run.train, run.valid)}}

    def identity(run: Run) -> dict[str, Any]:
        corpora = {"train": digests[run.train], "valid": digests[run.valid]}
        same: dict[str, Any] = json.loads(json.dumps({"recipe": run.recipe.sections(), "seed": run.seed} | corpora))
        return same

    return {run: identity(run) for run in runs}


def is_of(record: Mapping[str, Any], identity: Mapping[str, Any], recipe: Recipe) -> bool:
    """Whether what stands in `record` was written for this run; fields younger than it were at their defaults."""
    return {**record, "recipe": recipe.completed(record["recipe"])} == identity


def work(runs: Sequence[Run], root: Path) -> Worked:
    """Trains what is not finished, in order, each to its limit or to a signal that says to leave.

    Whatever ends it (SIGINT, SIGTERM, an error of one run), the same call goes on from there. Raises `HeedfulError`,
    which names the run, for a run that cannot go on.
    """
    # every process of a training decides this before the first one writes
    done = results(runs, root)
    left = [run for run in runs if run not in done]
    for number, run in enumerate(left, 1):
        if distributed.rank() == 0:
            logger.warning("run %d of %d: %s, seed %d", number, len(left), run.name, run.seed)
        try:
            outcome = train(run.job(root))
        except HeedfulError as error:
            raise HeedfulError(f"{run.name}, seed {run.seed}: {error}") from error
        if outcome.signal:
            return Worked(_in_order(runs, done), left[number - 1 :], outcome.signal)
        done[run] = _finish(run, root)
    return Worked(_in_order(runs, done), [])


def _in_order(runs: Sequence[Run], done: dict[Run, Result]) -> list[Finished]:
    return [Finished(run, done[run]) for run in runs if run in done]


def _result(run: Run, root: Path, identity: Mapping[str, Any]) -> Result | None:
    """None where the run is not finished, or where the directory's result is of another recipe or data."""
    path = run.directory(root) / _RESULT
    try:
        record = json.loads(path.read_bytes())
        found: Result = TypeAdapter(Result).validate_python(record["result"])
        same = is_of(record["of"], identity, run.recipe)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise HeedfulError(f"{path} is damaged; delete it, and the same command makes it anew") from error
    return found if same else None


def _finish(run: Run, root: Path) -> Result:
    """Reads what the run came to off its last checkpoint, and writes it down."""
    directory = run.directory(root)
    last = checkpoint.trained_checkpoints(directory)[-1]
    if last.bleu is None or last.perplexity is None:
        path = directory / checkpoint.CHECKPOINTS / last.name
        raise HeedfulError(f"{path} ends the run but was not validated; delete it, and the same command goes on")
    tokenizers = Tokenizers.load(directory)
    count = parameters(run.recipe.model, tokenizers.source.vocab_size, tokenizers.target.vocab_size)
    result = Result(last.perplexity, last.bleu, count.total, last.step, float(last.progress["seconds"]))
    if distributed.rank() == 0:
        record = {"result": asdict(result), "of": identities([run])[run]}
        checkpoint.write_file(directory / _RESULT, checkpoint.to_json(record))
    return result
