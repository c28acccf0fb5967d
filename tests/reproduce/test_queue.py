"""The queue trains each run once, goes on where it was interrupted, and keeps no result of another recipe."""

import json
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from heedful import HeedfulError, checkpoint
from heedful.data.corpus import Corpus
from heedful.recipes.named import recipe
from heedful.reproduce import queue
from heedful.reproduce.queue import Run, results, work
from heedful.training.trainer import Trainer
from tests.small import SMALL


@pytest.fixture
def runs(corpus: dict[str, Any]) -> list[Run]:
    """Two recipes, the first under two seeds."""
    small = recipe("tiny").override(SMALL | {"max_steps": 6, "validate_every": 4})
    narrow = small.override({"d_ff": 16})
    data = (Corpus.of(corpus["train"]), Corpus.of(corpus["valid"]))
    return [Run("wide", small, *data, seed=3), Run("wide", small, *data, seed=5), Run("narrow", narrow, *data)]


def _interrupt(monkeypatch: pytest.MonkeyPatch, updates: int, number: signal.Signals) -> None:
    """The signal comes right after so many updates, of whatever run."""
    seen, advance = [0], Trainer._advance

    def advanced(trainer: Trainer, batches: int) -> None:
        advance(trainer, batches)
        seen[0] += 1
        if seen[0] == updates:
            signal.raise_signal(number)

    monkeypatch.setattr(Trainer, "_advance", advanced)


def _scores(root: Path, runs: list[Run]) -> list[tuple[float, float, int]]:
    found = results(runs, root)
    return [(found[run].perplexity, found[run].bleu, found[run].step) for run in runs]


def test_every_run_is_trained_once(runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worked = work(runs, tmp_path)
    assert [each.run for each in worked.finished] == runs
    assert (worked.left, worked.signal) == ([], None)
    for each in worked.finished:
        directory = each.run.directory(tmp_path)
        assert directory == tmp_path / each.run.name / f"seed-{each.run.seed}"
        assert checkpoint.load_config(directory)["training"]["seed"] == each.run.seed
        model = checkpoint.load_model(directory).model
        assert each.result.parameters == sum(parameter.numel() for parameter in model.parameters())
        assert each.result.step == 6
        last = checkpoint.trained_checkpoints(directory)[-1]
        assert (each.result.perplexity, each.result.bleu) == (last.perplexity, last.bleu)
    assert _scores(tmp_path, runs[:1]) != _scores(tmp_path, runs[1:2])
    monkeypatch.setattr(queue, "train", None)  # whoever called it now would fail
    assert work(runs, tmp_path) == worked


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("updates", [3, 8, 12])  # in the first run, in the second, and at its very end
def test_an_interrupted_queue_ends_like_one_that_was_not(
    runs: list[Run], tmp_path: Path, updates: int, number: signal.Signals
) -> None:
    work(runs, tmp_path / "whole")
    with pytest.MonkeyPatch.context() as patch:
        _interrupt(patch, updates, number)
        worked = work(runs, tmp_path / "parts")
    assert worked.signal == number
    finished = (updates - 1) // 6
    assert [each.run for each in worked.finished] == runs[:finished]
    assert list(worked.left) == runs[finished:]
    assert (
        checkpoint.trained_checkpoints(runs[finished].directory(tmp_path / "parts"))[-1].step == updates - 6 * finished
    )
    assert [each.run for each in work(runs, tmp_path / "parts").finished] == runs
    assert _scores(tmp_path / "parts", runs) == _scores(tmp_path / "whole", runs)


def test_a_result_is_of_its_recipe_and_data_alone(runs: list[Run], tmp_path: Path) -> None:
    first = runs[0]
    work([first], tmp_path)
    swapped = replace(first, train=first.valid)
    longer = replace(first, recipe=first.recipe.override({"max_steps": 9}))
    assert results([swapped, longer, first], tmp_path).keys() == {first}
    with pytest.raises(HeedfulError, match=r"wide, seed 3: .*different run \(training data"):
        work([swapped], tmp_path)
    assert work([longer], tmp_path).finished[0].result.step == 9  # a limit may be raised
    assert not results([first], tmp_path)


def test_a_result_from_before_there_was_a_field_stays_if_the_field_is_at_its_default(
    runs: list[Run], tmp_path: Path
) -> None:
    [run] = runs[:1]
    work([run], tmp_path)
    path = run.directory(tmp_path) / "result.json"
    record = json.loads(path.read_text())
    del record["of"]["recipe"]["training"]["cuda_graphs"]
    path.write_text(json.dumps(record))
    assert list(results([run], tmp_path)) == [run]
    del record["of"]["recipe"]["training"]["max_steps"]  # which this run does not have at its default
    path.write_text(json.dumps(record))
    assert not results([run], tmp_path)


def test_a_damaged_result_is_told(runs: list[Run], tmp_path: Path) -> None:
    work(runs[:1], tmp_path)
    path = runs[0].directory(tmp_path) / "result.json"
    record = json.loads(path.read_text())
    for damaged in ("{", "[]", json.dumps(record | {"result": {"bleu": "high"}})):
        path.write_text(damaged)
        with pytest.raises(HeedfulError, match=r"result\.json is damaged; delete it"):
            work(runs[:1], tmp_path)
    path.unlink()
    assert work(runs[:1], tmp_path).finished[0].result == queue.Result(**record["result"])


def test_a_run_that_fails_is_named_and_the_others_stay(runs: list[Run], tmp_path: Path) -> None:
    bad = replace(runs[1], name="bad", recipe=runs[1].recipe.override({"heads": 3}))
    with pytest.raises(HeedfulError, match=r"bad, seed 5: .*does not divide"):
        work([runs[0], bad], tmp_path)
    assert results([runs[0], bad], tmp_path).keys() == {runs[0]}
