"""What a training is asked to do: YAML, flags and Python, right and wrong."""

from pathlib import Path

import pytest

from heedful.errors import HeedfulError
from heedful.recipes import job as module
from heedful.recipes.job import make_job
from heedful.recipes.named import recipe
from tests.treebank import write_treebank

_PATHS = "train: [a.en, a.de]\nvalid: [v.en, v.de]\noutput: run\n"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "run.yaml"


def test_yaml_names_one_corpus_or_several(config: Path) -> None:
    config.write_text(_PATHS)
    assert [corpus.paths for corpus in make_job(config, {}).train] == [(Path("a.en"), Path("a.de"))]
    config.write_text(_PATHS.replace("[a.en, a.de]", "[[a.en, a.de], [b.tsv]]") + "train-weights: [1, 0.5]\n")
    job = make_job(config, {})
    assert [len(corpus.paths) for corpus in job.train] == [2, 1]
    assert job.weights == (1.0, 0.5)


def test_few_trees_have_values_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    trees = write_treebank(tmp_path / "trees.mrg", 1, 5)
    job = {"train_trees": trees, "valid_trees": trees, "output": tmp_path / "run"}
    monkeypatch.setattr(module, "FEW_TREES", 6)
    few = recipe("parse-small").few
    assert few
    values = make_job(None, job).recipe.values()
    assert {name: values[name] for name in few} == few
    assert "5 trees are few" in caplog.text
    given = make_job(None, job | {"max_steps": 7, "consistency": 0.0}).recipe.values()
    assert given == values | {"max_steps": 7, "consistency": 0.0}
    assert make_job(None, job | {"train_trees": [trees, trees]}).recipe == recipe("parse-small")
    assert make_job(None, job | {"recipe": "parse-paper"}).recipe == recipe("parse-paper")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("train: 5", "train cannot be 5"),
        ("train: {a: b}", "train cannot be"),
        ("train: [[5]]", "train cannot be"),
        ("train: [null, null]", "train cannot be None"),
        ("valid: true", "valid cannot be True"),
        ("valid: [v.en, 5]", "valid cannot be"),
        ("output: [a]", "output cannot be"),
        ("recipe: 5", "recipe cannot be 5"),
        ("source-lang: no", "source-lang cannot be False"),  # YAML's Norway
        ("init-from: [a]", "init-from cannot be"),
        ("d-modle: 3", "the nearest is d-model"),
        ("lr: .inf", "lr cannot be inf"),
        ("seed: 99999999999999999999999", "seed cannot be"),
        ("threads: 100000", "threads cannot be"),
        ("max-length: 1000000000000", "max-length cannot be"),
        ("d-model: [3]", "d-model cannot be"),
        ("seed: 2020-13-45", "is not YAML"),
        ("seed: " + "[" * 5000, "is not YAML"),
    ],
)
def test_a_value_of_the_wrong_kind_is_an_error_that_names_it(config: Path, line: str, part: str) -> None:
    config.write_text(
        "".join(f"{old}\n" for old in _PATHS.split("\n") if old.split(":")[0] != line.split(":")[0]) + line
    )
    with pytest.raises(HeedfulError) as caught:
        make_job(config, {})
    assert part in str(caught.value)


def test_adam_takes_no_weight_decay_from_a_recipe_and_refuses_one_that_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tiny = recipe("tiny")
    assert tiny.training.weight_decay
    assert tiny.override({"optimizer": "adamw"}).training.weight_decay == tiny.training.weight_decay
    assert not caplog.messages
    assert tiny.override({"optimizer": "adam"}).training.weight_decay == 0
    assert "adam has no weight decay" in caplog.text
    with pytest.raises(HeedfulError, match="weight-decay needs optimizer adamw or muon"):
        tiny.override({"optimizer": "adam", "weight_decay": 0.2})
