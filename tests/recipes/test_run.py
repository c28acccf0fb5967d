"""Training end to end: it resumes to the last bit, refuses another run's directory, and leaves nothing half-done."""

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import heedful
from heedful import HeedfulError, checkpoint
from heedful.data.corpus import Corpus
from heedful.progress import Meter
from heedful.recipes import run as module
from heedful.recipes.job import make_job
from heedful.recipes.named import recipe
from heedful.training.objective import Objective
from heedful.training.trainer import Trainer
from tests.small import SMALL, full_disk


def _train(corpus: dict[str, Any], output: Path, **fields: Any) -> Any:
    return heedful.train(**corpus, output=output, **(SMALL | fields))


def _weights(directory: Path, step: int) -> dict[str, torch.Tensor]:
    [made] = [made for made in checkpoint.all_checkpoints(directory) if made.step == step]
    return checkpoint.load_tensors(directory, made)


def _last_trained(directory: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load_tensors(directory, checkpoint.trained_checkpoints(directory)[-1])


def _same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@contextmanager
def _told_to_leave_after(step: int) -> Iterator[None]:
    """Ctrl-C during this update."""
    update = Trainer.update

    def interrupted(self: Trainer, *arguments: Any) -> Any:
        if self.position.step == step - 1:
            signal.raise_signal(signal.SIGINT)
        return update(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "update", interrupted)
        yield


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"accumulate": 2, "ema_decay": 0.9, "schedule": "cosine", "lr": 1e-3, "decay_steps": 20, "device_tokens": 150},
        {"subword_sampling": 0.1, "validate_every": 100},
        {"optimizer": "muon", "consistency": 2.0, "consistency_after": 5, "precision": "bfloat16"},
        {"recipe": "rnn-attention", "layers": 2, "heads": None, "d_ff": None, "input_feeding": True},
    ],
    ids=["plain", "accumulate-cut-ema-cosine", "sampling", "muon-consistency-bfloat16", "recurrent"],
)
def test_an_interrupted_run_ends_with_the_same_weights_as_an_uninterrupted_one(
    corpus: dict[str, Any], tmp_path: Path, fields: dict[str, Any]
) -> None:
    _train(corpus, tmp_path / "whole", max_steps=13, **fields)
    for limit in (3, 8, 13):  # inside an epoch, and after a change of epochs
        outcome = _train(corpus, tmp_path / "parts", max_steps=limit, **fields)
        assert outcome.position.step == limit
    assert outcome.position.epoch >= 1
    assert _same(_weights(tmp_path / "whole", 13), _weights(tmp_path / "parts", 13))


def test_a_new_process_draws_the_same_segmentations(corpus: dict[str, Any], tmp_path: Path) -> None:
    fields = {"subword_sampling": 0.2, "validate_every": 100}
    _train(corpus, tmp_path / "whole", max_steps=13, **fields)
    assert _train(corpus, tmp_path / "parts", max_steps=3, **fields).position.epoch == 0
    shutil.rmtree(tmp_path / "parts" / "data")  # the draws of the epoch that goes on among them
    command = [sys.executable, "-m", "heedful", *_command(corpus, tmp_path / "parts", max_steps=13, **fields)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert checkpoint.all_checkpoints(tmp_path / "parts")[-1].progress["epoch"] >= 1
    assert _same(_weights(tmp_path / "whole", 13), _weights(tmp_path / "parts", 13))


def test_a_batch_is_the_same_in_one_piece_and_in_many(corpus: dict[str, Any], tmp_path: Path) -> None:
    fields = {"dropout": 0.0, "max_steps": 6}
    _train(corpus, tmp_path / "whole", **fields)
    seen: list[tuple[int, int]] = []
    forward = Objective.forward

    def watched(self: Objective, batch: Any, consistency: float) -> Any:
        seen.append(tuple(batch.target_output.shape))
        return forward(self, batch, consistency)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Objective, "forward", watched)
        _train(corpus, tmp_path / "cut", **fields, device_tokens=90)
    assert len(seen) > 3 * 6
    assert all(rows * width <= 90 for rows, width in seen)
    pairs = list(Corpus.of([Path(path) for path in corpus["train"]]).pairs())
    whole, cut = (torch.tensor(heedful.load(tmp_path / run).score_pairs(pairs).log_probs) for run in ("whole", "cut"))
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-4)


def test_the_mean_of_the_last_checkpoints_is_the_model(corpus: dict[str, Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    fields: dict[str, Any] = {"average_last": 3, "keep_last": 3}
    mean = _train(corpus, run, max_steps=18, **fields).mean
    assert mean.averaged == ("step-00000012", "step-00000016", "step-00000018")
    loaded = checkpoint.load_model(run)
    assert loaded.checkpoint.files == mean.files
    assert mean.bleu is not None
    parts = [_weights(run, step) for step in (12, 16)] + [_last_trained(run)]
    for name, tensor in checkpoint.model_tensors(loaded.model).items():
        torch.testing.assert_close(tensor, sum(part[name] for part in parts) / 3)
    assert _train(corpus, run, max_steps=18, **fields).mean.files == mean.files  # finished already, and said again
    # it goes on from the weights in training, not from their mean, which is replaced
    assert _train(corpus, run, max_steps=25, **fields).mean.averaged[-1] == "step-00000025"
    _train(corpus, tmp_path / "whole", max_steps=25)
    assert _same(_last_trained(run), _last_trained(tmp_path / "whole"))
    assert len([made for made in checkpoint.all_checkpoints(run) if made.averaged]) == 1
    assert _train(corpus, tmp_path / "short", max_steps=3, **fields).mean is None


def test_interruptions_change_nothing_in_the_mean(corpus: dict[str, Any], tmp_path: Path) -> None:
    fields: dict[str, Any] = {"average_last": 3, "keep_last": 3, "keep_best": 1}
    whole = _train(corpus, tmp_path / "whole", max_steps=18, **fields).mean
    assert whole.averaged == ("step-00000012", "step-00000016", "step-00000018")
    _train(corpus, tmp_path / "parts", max_steps=10, **fields)
    with _told_to_leave_after(14):
        assert _train(corpus, tmp_path / "parts", max_steps=18, **fields).signal == signal.SIGINT
    states = (tmp_path / "parts/checkpoints").glob("*/training.safetensors")
    assert sorted(path.parent.name for path in states) == ["step-00000012", "step-00000014"]
    with _told_to_leave_after(17):
        _train(corpus, tmp_path / "parts", max_steps=18, **fields)
    parts = _train(corpus, tmp_path / "parts", max_steps=18, **fields).mean
    assert (parts.averaged, parts.bleu, parts.perplexity) == (whole.averaged, whole.bleu, whole.perplexity)
    assert parts.files["model.safetensors"] == whole.files["model.safetensors"]
    by_hand = checkpoint.average(tmp_path / "parts", tmp_path / "mean", last=3)
    assert by_hand.averaged == whole.averaged


def test_a_mean_that_an_interruption_prevented_is_made_later(corpus: dict[str, Any], tmp_path: Path) -> None:
    fields: dict[str, Any] = {"average_last": 2, "max_steps": 8}
    mean = _train(corpus, tmp_path, **fields).mean
    shutil.rmtree(tmp_path / "checkpoints" / mean.name)
    assert _train(corpus, tmp_path, **fields).mean.files == mean.files


def test_more_checkpoints_to_average_than_are_kept_are_refused(corpus: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(HeedfulError, match=r"average_last 6 .* --keep-last \(5\)"):
        _train(corpus, tmp_path / "run", average_last=6)


def test_a_directory_from_before_a_field_existed_goes_on(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path, max_steps=2)
    shutil.rmtree(tmp_path / "checkpoints")  # which know the file's checksum
    config = json.loads((tmp_path / "config.json").read_text())
    del config["training"]["average_last"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert _train(corpus, tmp_path, max_steps=2).position.step == 2
    with pytest.raises(HeedfulError, match="average-last 1 → 2"):
        _train(corpus, tmp_path, max_steps=2, average_last=2)


def test_the_best_score_of_a_directory_from_before_there_were_parsers_counts(
    corpus: dict[str, Any], tmp_path: Path
) -> None:
    _train(corpus, tmp_path, max_steps=4)
    [made] = checkpoint.all_checkpoints(tmp_path)
    weights, training = (checkpoint.load_tensors(tmp_path, made, training=both) for both in (False, True))
    shutil.rmtree(tmp_path / "checkpoints" / made.name)
    before = {name: value for name, value in made.progress.items() if name != "best_score"} | {"best_bleu": 99.0}
    checkpoint.save(tmp_path, replace(made, progress=before), weights, training)
    outcome = _train(corpus, tmp_path, max_steps=8)
    assert (outcome.position.best_score, outcome.position.stale) == (99.0, 1)


def test_training_changes_the_weights_and_lowers_the_loss(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path / "run", max_steps=60, validate_every=60, schedule="inverse-sqrt", lr=3e-3)
    records = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().split("\n") if line]
    losses = [record["loss"] for record in records if "loss" in record]
    assert losses[-1] < losses[0] - 0.5
    assert [record["step"] for record in records if "loss" in record] == list(range(2, 61, 2))
    assert any("valid_bleu" in record for record in records)
    assert list((tmp_path / "run/tensorboard").glob("events*"))
    [hypotheses] = (tmp_path / "run/hypotheses").iterdir()
    assert len(hypotheses.read_text().split("\n")) == 7 + 1


def test_a_finished_run_says_so_and_stays_as_it_is(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path / "run", max_steps=3)
    before = {path: path.read_bytes() for path in (tmp_path / "run/checkpoints").rglob("*") if path.is_file()}
    assert "finished: 3 steps" in _train(corpus, tmp_path / "run", max_steps=3).reason
    after = {path: path.read_bytes() for path in (tmp_path / "run/checkpoints").rglob("*") if path.is_file()}
    assert after == before


def test_a_run_whose_cosine_has_ended_is_not_led_on(corpus: dict[str, Any], tmp_path: Path) -> None:
    fields = {"schedule": "cosine", "warmup_steps": 1}
    _train(corpus, tmp_path / "run", max_steps=4, **fields)
    with pytest.raises(HeedfulError, match="came to zero at update 4"):
        _train(corpus, tmp_path / "run", max_steps=8, **fields)


def test_a_run_that_ended_with_an_epoch_is_finished(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path / "run", max_epochs=1, validate_every=1)
    assert "finished: 1 epochs" in _train(corpus, tmp_path / "run", max_epochs=1, validate_every=1).reason


def test_a_start_that_was_killed_starts_again(corpus: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "run/data/plain-0.partial").mkdir(parents=True)
    (tmp_path / "run/.starting").touch()
    for name in ("source.model", "target.model"):
        (tmp_path / "run" / name).write_bytes(b"half a vocab")
    _train(corpus, tmp_path / "run", max_steps=1)
    assert checkpoint.load_model(tmp_path / "run").tokenizers.joint
    assert not (tmp_path / "run/.starting").exists()


def test_the_bar_goes_evenly_from_where_an_interruption_left_it(
    corpus: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    monkeypatch.setattr(Meter, "update", lambda _meter, done, _note="": shares.append(done))
    _train(corpus, tmp_path / "run", max_steps=3)
    shares.clear()
    outcome = _train(corpus, tmp_path / "run", max_epochs=2, validate_every=4)
    steps = outcome.position.step
    expected = [step / steps for step in range(3, steps + 1)]
    found = sorted({round(share, 9) for share in shares if share <= 1})
    assert shares == sorted(shares)
    assert found == pytest.approx(expected)


def test_another_runs_directory_is_refused_with_the_fields_that_differ(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path / "run", max_steps=2)
    with pytest.raises(HeedfulError, match=r"dropout 0.2 → 0.3.*label-smoothing 0.1 → 0.2"):
        _train(corpus, tmp_path / "run", max_steps=2, dropout=0.3, label_smoothing=0.2)
    with pytest.raises(HeedfulError, match="validation data"):
        _train(corpus | {"valid": corpus["train"]}, tmp_path / "run", max_steps=2)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/letter.txt").write_text("not yours")
    with pytest.raises(HeedfulError, match="not empty"):
        _train(corpus, tmp_path / "other", max_steps=2)


def test_patience_counts_validations_without_a_better_bleu(corpus: dict[str, Any], tmp_path: Path) -> None:
    # a learning rate of almost nothing: BLEU cannot improve
    outcome = _train(
        corpus, tmp_path / "run", patience=2, lr=1e-12, schedule="inverse-sqrt", validate_every=1, max_steps=50
    )
    assert outcome.position.step == 3
    assert "2 validations without a better score" in outcome.reason


def test_epochs_are_a_limit(corpus: dict[str, Any], tmp_path: Path) -> None:
    outcome = _train(corpus, tmp_path / "run", max_epochs=2)
    assert (outcome.position.epoch, outcome.position.batch) == (2, 0)


def test_fine_tuning_starts_from_the_weights_and_keeps_the_vocabulary(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path / "first", max_steps=4)
    arguments = {**corpus, "output": tmp_path / "second", "init_from": tmp_path / "first", "lr": 1e-12}
    heedful.train(**arguments, max_steps=1, threads=1, schedule="inverse-sqrt")
    assert (tmp_path / "second/source.model").read_bytes() == (tmp_path / "first/source.model").read_bytes()
    first, second = _weights(tmp_path / "first", 4), _weights(tmp_path / "second", 1)
    for name in first:
        torch.testing.assert_close(first[name], second[name])
    with pytest.raises(HeedfulError, match="--d-model cannot change"):
        make_job(None, arguments | {"d_model": 32})


def test_a_loss_that_is_not_finite_stops_before_the_update(corpus: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(HeedfulError) as caught:
        _train(
            corpus, tmp_path / "run", schedule="inverse-sqrt", lr=1e30, warmup_steps=1, max_steps=50, validate_every=1
        )
    assert "train.source" in str(caught.value)
    assert "before update" in str(caught.value)
    for made in checkpoint.all_checkpoints(tmp_path / "run"):
        assert all(tensor.isfinite().all() for tensor in checkpoint.load_tensors(tmp_path / "run", made).values())


def test_of_an_updates_batches_the_one_whose_loss_is_not_finite_is_named(
    corpus: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, count = Objective.forward, itertools.count(1)

    def second_is_nan(self: Objective, *arguments: Any) -> tuple[torch.Tensor, torch.Tensor]:
        smoothed, likelihood = usual(self, *arguments)
        return smoothed * (math.nan if next(count) == 2 else 1.0), likelihood

    monkeypatch.setattr(Objective, "forward", second_is_nan)
    with pytest.raises(HeedfulError, match=r"loss is nan before update 1, epoch 1, batch 2 \([^;]*\); the weights"):
        _train(corpus, tmp_path / "run", accumulate=3, max_steps=1)


@pytest.mark.parametrize("weights", [["a"], ["nan"], ["inf"], [-1], [0], [1, 2]])
def test_weights_that_are_none_are_refused(corpus: dict[str, Any], tmp_path: Path, weights: list[Any]) -> None:
    with pytest.raises(HeedfulError, match="--train-weights"):
        make_job(None, corpus | {"output": tmp_path, "train_weights": weights})


@pytest.mark.parametrize("device", ["cuda:77", "abacus", "meta"])
def test_a_device_that_is_not_there_is_refused(corpus: dict[str, Any], tmp_path: Path, device: str) -> None:
    with pytest.raises(HeedfulError, match=device):
        _train(corpus, tmp_path / "run", device=device)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("fault", [b"2020-05-04\n\xff\n", b"2020-05-04\n" * 6], ids=["encoding", "lines"])
def test_a_validation_set_is_read_to_its_end_before_anything_is_written(
    corpus: dict[str, Any], tmp_path: Path, fault: bytes
) -> None:
    bad = tmp_path / "bad.target"
    bad.write_bytes(fault)
    with pytest.raises(HeedfulError, match=r"bad\.target"):
        _train(corpus | {"valid": (corpus["valid"][0], str(bad))}, tmp_path / "runs/new")
    assert list(tmp_path.iterdir()) == [bad]


def test_numbers_that_do_not_fit_together_leave_nothing_behind(corpus: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(HeedfulError, match="does not divide d_model"):
        _train(corpus, tmp_path / "run", heads=3)
    assert not list(tmp_path.iterdir())


def test_separate_vocabularies_share_no_source_embeddings(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path / "run", vocabulary="separate", max_steps=1)
    model = checkpoint.load_model(tmp_path / "run")
    assert model.config["model"]["share_embeddings"] == "target"
    assert not model.tokenizers.joint
    with pytest.raises(HeedfulError, match="share-embeddings all needs vocabulary joint"):
        _train(corpus, tmp_path / "other", vocabulary="separate", share_embeddings="all")


def test_separate_vocabularies_have_one_direction(
    corpus: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert recipe("tiny").data.both_directions
    assert recipe("tiny").override({"vocabulary": "separate"}).data.both_directions == 0
    assert "in their own direction only" in caplog.text
    with pytest.raises(HeedfulError, match="both-directions needs vocabulary joint"):
        _train(corpus, tmp_path / "run", vocabulary="separate", both_directions=5)


def test_a_trained_model_goes_on_in_its_own_direction(corpus: dict[str, Any], tmp_path: Path) -> None:
    _train(corpus, tmp_path / "run", both_directions=5, max_steps=1)
    start = {"train": corpus["train"], "valid": corpus["valid"], "output": "new", "init_from": str(tmp_path / "run")}
    assert checkpoint.load_config(tmp_path / "run")["data"]["both_directions"] == 5
    assert recipe("tiny").data.both_directions
    assert make_job(None, start).recipe.data.both_directions == 0
    assert make_job(None, start | {"both_directions": 7}).recipe.data.both_directions == 7


@pytest.mark.parametrize("room", [99, 3999])
def test_a_start_on_a_full_disk_leaves_nothing_behind(corpus: dict[str, Any], tmp_path: Path, room: int) -> None:
    with full_disk(room), pytest.raises(HeedfulError, match=r"cannot write .*run"):
        _train(corpus, tmp_path / "runs/run", max_steps=1)
    assert not list(tmp_path.iterdir())


def test_directories_above_go_with_a_start_that_failed(corpus: dict[str, Any], tmp_path: Path) -> None:
    blank = tmp_path / "blank.target"
    blank.write_text("\n" * 90)
    with pytest.raises(HeedfulError, match="no training pair is left"):
        _train(corpus | {"train": (corpus["train"][0], str(blank))}, tmp_path / "runs/today/new")
    assert list(tmp_path.iterdir()) == [blank]


@pytest.mark.parametrize("name", ["config.json", "source.model", "model.safetensors"])
def test_a_damaged_model_is_no_start(corpus: dict[str, Any], tmp_path: Path, name: str) -> None:
    _train(corpus, tmp_path / "run", max_steps=1)
    [path] = (tmp_path / "run").rglob(name)
    content = path.read_bytes()
    at = content.index(b"0.1") if name == "config.json" else len(content) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    with pytest.raises(HeedfulError, match=f"{name}.* is damaged"):
        heedful.train(**corpus, output=tmp_path / "new", init_from=tmp_path / "run", max_steps=1, threads=1)
    with pytest.raises(HeedfulError, match=f"{name}.* is damaged"):
        _train(corpus, tmp_path / "run", max_steps=2)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_bad_input_leaves_nothing_behind(corpus: dict[str, Any], tmp_path: Path) -> None:
    short = tmp_path / "short.target"
    short.write_text("".join(f"{line}\n" for line in Path(corpus["train"][1]).read_text().split("\n")[:-2]))
    with pytest.raises(HeedfulError, match="89"):
        _train(corpus | {"train": (corpus["train"][0], short)}, tmp_path / "run", max_steps=2)
    assert not (tmp_path / "run").exists()


def _command(corpus: dict[str, Any], output: Path, **fields: Any) -> list[str]:
    flags = [part for name, value in (SMALL | fields).items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return ["train", "--train", *corpus["train"], "--valid", *corpus["valid"], "--output", str(output), *flags]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_leaves(corpus: dict[str, Any], tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "heedful", *_command(corpus, tmp_path / "run", max_steps=100_000)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list((tmp_path / "run").glob("checkpoints/step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number, errors
    newest = checkpoint.all_checkpoints(tmp_path / "run")[-1]
    assert newest.progress["step"] == newest.step
    assert not list((tmp_path / "run").rglob("*.partial"))
    outcome = _train(corpus, tmp_path / "run", max_steps=newest.step + 1)
    assert outcome.position.step == newest.step + 1


def test_two_processes_train_as_one(corpus: dict[str, Any], tmp_path: Path) -> None:
    fields = {"dropout": 0.0, "max_steps": 6, "validate_every": 3}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    # translations of 300 tokens, in the validation that one process makes, let its table of positions grow
    flags = {**fields, "device_tokens": 90, "max_extra_tokens": 300}
    command = [*torchrun, "-m", "heedful", *_command(corpus, tmp_path / "two", **flags)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("model in") == 1
    assert done.stderr.count("validation:") == 2
    _train(corpus, tmp_path / "one", **fields)
    # not the weights: the gradient of the keys' bias is all rounding, since the softmax does not see it, and Adam
    # makes whole steps of it
    pairs = list(Corpus.of([Path(path) for path in corpus["train"]]).pairs())
    one, two = (torch.tensor(heedful.load(tmp_path / run).score_pairs(pairs).log_probs) for run in ("one", "two"))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("native", ["float32", "bfloat16"])
def test_precision_auto_is_settled_at_the_start_and_kept(
    corpus: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, native: str
) -> None:
    monkeypatch.setattr(module, "native_precision", lambda _: native)
    _train(corpus, tmp_path / "run", max_steps=2, precision="auto")
    assert checkpoint.load_config(tmp_path / "run")["training"]["precision"] == native
    other = {"float32": "bfloat16", "bfloat16": "float32"}[native]
    monkeypatch.setattr(module, "native_precision", lambda _: other)
    _train(corpus, tmp_path / "run", max_steps=3, precision="auto")
    assert checkpoint.load_config(tmp_path / "run")["training"]["precision"] == native
