"""`heedful plan`: sizes by formula, time by real updates, one clear line for bad input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import heedful
from heedful.cli.main import main
from heedful.model.complexity import training_flops
from heedful.model.config import TransformerConfig
from heedful.recipes import paper
from heedful.recipes import plan as module
from heedful.recipes.gpus import GPUS, gpu
from heedful.recipes.named import recipe
from tests.small import SMALL


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


FLAGS = [part for name, value in SMALL.items() for part in (_flag(name), str(value))]


def _plan(capsys: pytest.CaptureFixture[str], corpus: dict[str, Any], *flags: str) -> dict[str, Any]:
    arguments = ["plan", "tiny", "--train", *corpus["train"], *FLAGS, "--seconds", "0.5", "--json", *flags]
    assert main(arguments) == 0, capsys.readouterr().err
    made: dict[str, Any] = json.loads(capsys.readouterr().out)
    return made


def test_what_it_says_is_what_training_does(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"max_epochs": 3, "ema_decay": 0.0, "optimizer": "adam", "precision": "float32"}
    made = _plan(capsys, corpus, *(part for name, value in fields.items() for part in (_flag(name), str(value))))
    outcome = heedful.train(**corpus, output=tmp_path / "run", **(SMALL | fields))
    assert made["updates"] == outcome.position.step
    assert made["epochs"] == pytest.approx(3)
    loaded = heedful.checkpoint.load_model(tmp_path / "run")
    total = sum(parameter.numel() for parameter in loaded.model.parameters())
    assert made["parameters"]["total"] == total
    pairs = list(heedful.data.corpus.Corpus.of([Path(path) for path in corpus["train"]]).pairs())
    source, target = (
        [len(tokenizer.encode(pair[side])) + 1 for pair in pairs]
        for side, tokenizer in enumerate((loaded.tokenizers.source, loaded.tokenizers.target))
    )
    assert made["data"]["lines"] == made["data"]["sampled"] == len(pairs) == 90
    assert made["source_tokens"] == pytest.approx(3 * sum(source))
    assert made["target_tokens"] == pytest.approx(3 * sum(target))
    vocab = loaded.tokenizers.target.vocab_size
    model = TransformerConfig(layers=1, d_model=16, d_ff=32, heads=2)
    assert made["flops"] == pytest.approx(
        3 * sum(training_flops(model, vocab, n, m) for n, m in zip(source, target, strict=True))
    )
    # weights, gradients and two moments, four bytes each
    assert made["memory"]["state"] == 16 * total


@pytest.mark.parametrize("epochs", [2, 7])
def test_epochs_in_both_directions_have_twice_the_updates(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], epochs: int
) -> None:
    one_way = _plan(capsys, corpus, "--max-epochs", "1")["updates"]
    both = 3 * 2 * one_way  # three epochs
    made = _plan(capsys, corpus, "--max-epochs", str(epochs), "--both-directions", str(both))
    fields = {"max_epochs": epochs, "both_directions": both}
    outcome = heedful.train(**corpus, output=tmp_path / "run", **(SMALL | fields))
    assert made["updates"] == pytest.approx(outcome.position.step, rel=0.1)  # other batches
    assert made["epochs"] == pytest.approx(epochs, rel=0.06)


def test_the_hours_are_those_of_the_updates_measured(
    corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    made = _plan(capsys, corpus, "--max-steps", "7200")
    measured = made["measurement"]
    tokens = made["target_tokens"] / 7200
    assert measured["updates"] >= 2
    assert 0 < measured["smallest"] <= measured["largest"] <= 400
    assert made["hours"] == pytest.approx(2 * (measured["overhead"] + measured["seconds_per_token"] * tokens))


def test_a_line_through_the_updates_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from heedful.recipes import plan

    def timed(_trainer: Any, indices: np.ndarray) -> tuple[int, float]:
        return 10 * len(indices), 0.0003 + 0.000001 * 10 * len(indices)

    class Anywhere:
        class model:  # noqa: N801
            class device:  # noqa: N801
                type = "cpu"

    monkeypatch.setattr(plan, "_timed", timed)
    found = plan._measure(Anywhere(), [np.arange(640)], 0.2)  # type: ignore[arg-type]
    assert (found.smallest, found.largest) == (200, 6400)
    assert found.overhead == pytest.approx(0.0003)
    assert found.seconds_per_token == pytest.approx(0.000001)


def test_on_a_gpu_the_update_that_is_timed_has_its_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    from heedful.recipes import plan

    class Clock:
        now = 0.0

    class Graphed:
        """An update takes 100 seconds, with its graph one."""

        class model:  # noqa: N801
            device = torch.device("cuda")

        updates = 0

        def update(self, _group: Any) -> tuple[float, float, int]:
            self.updates += 1
            Clock.now += 1.0 if self.updates > 2 else 100.0
            return 0.0, 0.0, 7

    monkeypatch.setattr(plan.time, "monotonic", lambda: Clock.now)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _device: None)
    assert plan._timed(Graphed(), np.arange(3)) == (7, 1.0)  # type: ignore[arg-type]


def test_a_small_update_takes_as_long_as_its_launches(
    corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    [on] = _plan(capsys, corpus, "--gpu", "h100", "--gpus", "8", "--max-steps", "50")["gpus"]
    assert on["hours"] == pytest.approx(50 * 5e-3 / 3600)


def test_the_clock_limits_a_plan_too(corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    made = _plan(capsys, corpus, "--max-steps", "none", "--max-minutes", "30")
    assert made["updates"] > 1
    assert made["hours"] <= 0.5 < made["hours"] * (made["updates"] + 1) / made["updates"]
    assert _plan(capsys, corpus, "--max-steps", "2", "--max-minutes", "30")["updates"] == 2


def test_gpus_share_the_work_and_the_batch(
    corpus: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_AN_UPDATE", 0.0)
    made = _plan(capsys, corpus, "--gpu", "a100", "--gpus", "4", "--max-steps", "50")
    [on] = made["gpus"]
    assert on["hours"] == pytest.approx(made["flops"] / (4 * 0.30 * 19.5e12) / 3600)
    assert (made["memory"]["tokens_at_once"], on["memory"]["tokens_at_once"]) == (400, 100)
    # a quarter, and without the attention weights that a CPU keeps where it has no kernels
    assert 0.5 < on["memory"]["activations"] / (made["memory"]["activations"] / 4) < 1.0001
    flags = ("--gpu", "A100", "--gpus", "4", "--max-steps", "50", "--precision", "bfloat16")
    [faster] = _plan(capsys, corpus, *flags)["gpus"]
    assert on["hours"] / faster["hours"] == pytest.approx(312 / 19.5)


def test_consistency_costs_twice_the_work_and_memory(
    corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = _plan(capsys, corpus, "--max-steps", "50", "--consistency", "0")
    twice = _plan(capsys, corpus, "--max-steps", "50", "--consistency", "1")
    assert twice["flops"] == pytest.approx(2 * plain["flops"])
    assert twice["memory"]["activations"] == pytest.approx(2 * plain["memory"]["activations"], abs=9)
    assert twice["memory"]["state"] == plain["memory"]["state"]
    late = _plan(capsys, corpus, "--max-steps", "50", "--consistency", "1", "--consistency-after", "20")
    assert late["flops"] == pytest.approx((20 + 2 * 30) / 50 * plain["flops"])
    measured, tokens = late["measurement"], late["target_tokens"] / 50
    seconds = 50 * measured["overhead"] + (20 / 2 + 30) * measured["seconds_per_token"] * tokens
    assert late["hours"] == pytest.approx(seconds / 3600)


def test_an_even_sample_stands_for_the_whole(
    corpus: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from heedful.recipes import plan

    whole = _plan(capsys, corpus, "--max-epochs", "2")
    monkeypatch.setattr(plan, "_SAMPLE", 45)
    half = _plan(capsys, corpus, "--max-epochs", "2")
    assert (half["data"]["lines"], half["data"]["sampled"]) == (90, 45)
    assert half["target_tokens"] == pytest.approx(whole["target_tokens"], rel=0.15)
    assert half["data"]["vocabulary"] == [340, 340]


def test_text_for_people(corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "tiny", "--train", *corpus["train"], *FLAGS, "--seconds", "0.2"]) == 0
    printed = capsys.readouterr().out
    for part in ("parameters", "FLOPs", "time here", "measured", *(kind.name for kind in GPUS)):
        assert part in printed
    assert "the paper" not in printed.replace("the paper's times are", "")


def test_the_paper_s_own_times_stand_beside_its_recipes_alone() -> None:
    base, big = recipe("base"), recipe("big")
    assert (paper.hours(base), paper.hours(big)) == (12, 84)  # Section 5.2: 12 hours and 3.5 days
    assert paper.hours(base.override({"batch_tokens": 4096})) is None
    assert paper.hours(base.override({"layers": 2})) is None
    assert paper.hours(recipe("tiny")) is None
    assert gpu("p100").float32 == 10.6


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["plan", "bse", "--train", "a.en", "a.de"], "the nearest is base"),
        (["plan", "base", "--train", "no.en", "no.de"], "no.en"),
        (["plan", "base", "--train", "no.en", "no.de", "--gpu", "P10"], "the nearest is P100"),
        (["plan", "base", "--train", "no.en", "no.de", "--gpus", "0"], "--gpus 0"),
        (["plan", "base", "--train", "no.en", "no.de", "--seconds", "nan"], "--seconds nan"),
        (["plan", "base", "--train", "no.en", "no.de", "--heads", "3"], "heads (3)"),
        (["plan", "base", "--train", "no.en", "no.de", "--max-steps", "none"], "--max-steps"),
        (["plan", "base"], "--train"),
    ],
)
def test_bad_input_is_told_in_one_line(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert part in errors
    assert not list(tmp_path.iterdir())


def test_a_gpu_is_planned_in_its_own_precision_whatever_this_machine_has(
    corpus: dict[str, Any], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = []
    for native in ("float32", "bfloat16"):
        monkeypatch.setattr(module, "native_precision", lambda _, native=native: native)
        made = _plan(capsys, corpus, "--precision", "auto", "--max-steps", "9")
        hours.append([each["hours"] for each in made["gpus"]])
    assert hours[0] == hours[1]


def test_what_training_refuses_is_not_planned(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--schedule", "cosine", "--max-steps", "none", "--max-epochs", "2"]
    assert main(["plan", "tiny", "--train", *corpus["train"], *flags]) == 2
    assert "the cosine schedule needs an end" in capsys.readouterr().err
    for side in ("a", "b"):
        (tmp_path / f"empty.{side}").touch()
    assert main(["plan", "tiny", "--train", str(tmp_path / "empty.a"), str(tmp_path / "empty.b")]) == 2
    assert "no sentence pair" in capsys.readouterr().err
