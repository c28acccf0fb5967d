"""The lecture's experiments: their measures against independent ones, their sentences against made-up numbers."""

import csv
import math
import signal
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import Tensor

from heedful.cli.main import main
from heedful.data.batches import Batch
from heedful.data.corpus import Corpus
from heedful.errors import HeedfulError
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.embedding import TokenEmbedding
from heedful.model.seq2seq import Seq2Seq
from heedful.reproduce.lecture import depth, gradient, sequential
from heedful.reproduce.lecture.bench import Bench
from heedful.reproduce.lecture.generations import generations
from heedful.reproduce.lecture.profile import PROFILES, Profile
from heedful.reproduce.lecture.sequential import Times
from heedful.reproduce.lecture.tasks import given
from heedful.reproduce.lecture.trainings import train_all
from heedful.training.trainer import Trainer

TINY = TransformerConfig(layers=1, d_model=7, heads=1, d_ff=11, dropout=0.0)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_generations_are_equally_large(profile: Profile) -> None:
    configs = generations(profile.transformer, 1000)
    counts = {
        name: sum(weight.numel() for weight in build_model(config, 1000, 1000).parameters())
        for name, config in configs.items()
    }
    assert list(counts) == ["rnn", "rnn-attention", "transformer"]
    for count in counts.values():
        assert count == pytest.approx(counts["transformer"], rel=0.05 if profile.name == "seconds" else 0.01)


def _moved_loss(model: Seq2Seq, batch: Batch, at: int, component: int, by: float) -> float:
    """-log p of the first target token with one component of one source embedding moved."""
    first = True

    def move(_module: object, _input: object, output: Tensor) -> Tensor:
        nonlocal first
        if not first:
            return output
        first = False
        moved = output.clone()
        moved[0, at, component] += by
        return moved

    hooks = [each.register_forward_hook(move) for each in model.modules() if isinstance(each, TokenEmbedding)]
    with torch.no_grad():
        hidden = model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)[0, 0]
        loss = -model.project(hidden).log_softmax(-1)[batch.target_output[0, 0]]
    for hook in hooks:
        hook.remove()
    return float(loss)


@pytest.mark.parametrize("name", ["rnn", "rnn-attention", "transformer"])
def test_gradients_are_differences(name: str) -> None:
    torch.manual_seed(3)
    model = build_model(generations(TINY, gradient.VOCAB)[name], gradient.VOCAB, gradient.VOCAB)
    batch = gradient.random_batch(1, 5, 3, seed=1)
    norms = gradient.by_distance(model, batch)
    width, tiny = next(model.parameters()).size(1), 1e-4
    for at in range(5):
        slopes = [
            (_moved_loss(model, batch, at, each, tiny) - _moved_loss(model, batch, at, each, -tiny)) / (2 * tiny)
            for each in range(width)
        ]
        # the last source token is the nearest; the fused loss has 24 bits
        assert norms[5 - 1 - at] == pytest.approx(np.linalg.norm(slopes), rel=1e-4)


def test_what_the_gradient_s_sentence_says_follows_from_its_curves() -> None:
    seen = gradient._seen({"rnn": np.array([2.0, 1.0, 0.5]), "transformer": np.array([1.0, 7.0, 3.0])})
    assert seen == (
        "the gradient at the source token 3 steps away, divided by that at the nearest one, "
        "is 0.25 (rnn), 3 (transformer)."
    )


def test_what_the_sentence_about_times_says_follows_from_them() -> None:
    found = {
        (name, kind, n): Times(factor * n**power, factor * n**power)
        for name, factor, power in (("rnn", 8.0, 0), ("transformer", 1.0, 1))
        for kind in ("one sentence", "batch")
        for n in (2, 16)
    }
    part = (
        "from 2 to 16 tokens the time of a token is multiplied by 1 (rnn), 8 (transformer), "
        "and at 16 the rnn takes 0.5 times as long as the transformer"
    )
    assert sequential._seen(found) == f"both passes, one sentence: {part}; batch: {part}."


def test_a_pass_is_timed_without_the_other() -> None:
    """The backward pass of an embedding and two stacks is more work than none, and so is the forward pass."""
    model = build_model(TINY, gradient.VOCAB, gradient.VOCAB)
    times = sequential.measure(model, gradient.random_batch(2, 5, 5, seed=1), seconds=0.01)
    assert times.forward > 0
    assert times.backward > 0


def test_the_command_writes_a_page_numbers_and_a_picture_for_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "made"
    arguments = ["--profile", "seconds", "--only", "sequential,gradient", "--output", str(output)]
    assert main(["reproduce", "lecture", *arguments]) == 0
    said = capsys.readouterr().out.splitlines()
    profile = PROFILES["seconds"]
    for line, name in zip(said, ("gradient", "sequential"), strict=False):
        label, _, seen = line.partition(": ")
        assert label == name
        page = (output / f"{name}.md").read_text()
        assert seen in page
        assert f"({name}.md)" in (output / "lecture.md").read_text()
        assert (output / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    with (output / "gradient.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 3 * profile.distance
    ends = [float(line["gradient_norm"]) for line in lines if line["model"] == "rnn"]
    assert f"{ends[-1] / ends[0]:.2g}"[:4] in said[0]
    with (output / "sequential.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 2 * len(profile.lengths)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--only", "gradeint"], "the nearest is gradient"),
        (["--only", ""], "no such experiment"),
        (["--profile", "days"], "--profile"),
        (["--seeds", "0"], "--seeds 0"),
        (["--output", "file"], "file"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["reproduce", "lecture", *arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("heedful: error: ")
    assert errors.count("\n") == 1
    assert part in errors
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def _bench(directory: Path, **sizes: int) -> Bench:
    return Bench(replace(PROFILES["seconds"], **sizes), (1, 2), torch.device("cpu"), directory)


def test_a_training_is_done_once_whoever_asks(tmp_path: Path) -> None:
    bench = _bench(tmp_path)
    task = bench.dates()
    models = generations(bench.profile.transformer, task.data.vocab_size)
    first = train_all(bench, task, {"rnn": models["rnn"]}, 3)
    assert [(each.name, each.seed) for each in first] == [("rnn", 1), ("rnn", 2)]
    assert [each.result.step for each in first if each.result] == [3, 3]
    assert all(len(each.answers["test"]) == bench.profile.lines[2] for each in first)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("models/**/*") if path.is_file()}
    assert train_all(bench, task, {"rnn": models["rnn"]}, 3) == first
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_what_diverges_is_a_result_and_stays_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = replace(_bench(tmp_path), seeds=(1,))
    task = bench.dates()
    models = generations(bench.profile.transformer, task.data.vocab_size)
    asked, update = [], Trainer.update

    def diverge(self: Trainer, *groups: object) -> object:
        asked.append(self.directory.parent.name)
        if self.directory.parent.name == "dates-rnn":
            raise self._diverged("loss", float("inf"), [], 0)
        return update(self, *groups)

    monkeypatch.setattr(Trainer, "update", diverge)
    for _ in range(2):
        rnn, transformer = train_all(bench, task, {name: models[name] for name in ("rnn", "transformer")}, 2)
        assert rnn.result is None
        assert set(rnn.answers["test"]) == {""}
        assert transformer.result is not None
    assert asked == ["dates-rnn", "dates-transformer", "dates-transformer"]


def test_gradients_by_layer_are_those_of_the_trainer_s_loss() -> None:
    """All layers' squares together are what is left of the whole norm without embeddings and final norms."""
    torch.manual_seed(5)
    model = build_model(replace(TINY, layers=2), gradient.VOCAB, gradient.VOCAB)
    norms = depth.by_layer(model, 2, seed=3)
    batch = gradient.random_batch(2, depth._LENGTH, depth._LENGTH, seed=3)
    hidden = model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
    logits = model.project(hidden).flatten(0, 1)
    torch.nn.functional.cross_entropy(logits, batch.target_output.flatten(), reduction="sum").backward()
    for norm, name in zip(norms, ("encoder.layers.0", "encoder.layers.1", "decoder.layers.0"), strict=False):
        own = [weight.grad for key, weight in model.named_parameters() if key.startswith(f"{name}.")]
        assert norm == pytest.approx(float(torch.cat([each.flatten() for each in own]).norm()), rel=1e-4)


def _stacked(norm: str, skip: bool, by_layer: list[float], perplexity: float | None) -> depth.Stacked:
    config = replace(TINY, layers=len(by_layer) // 2)
    return depth.Stacked(depth.Variant(norm, skip, config), np.array(by_layer), [perplexity])


def test_depth_says_what_reaches_both_stacks_and_what_was_learned(tmp_path: Path) -> None:
    bench = Bench(PROFILES["seconds"], (1,), torch.device("cpu"), tmp_path)
    found = [
        _stacked("no norm", True, [7.0, 1.0], 3.0),  # not the deepest
        _stacked("no norm", True, [8e20, 5.0, 6.0, 4.0], None),
        _stacked("layer norm, post", True, [2.0, 5.0, 1.0, 4.0], 2.5),
        _stacked("no norm", False, [0.0, 5.0, 0.0, 4.0], math.inf),
        _stacked("layer norm, post", False, [6.0, 5.0, 0.0, 4.0], 10.0),
    ]
    finding = depth._finding(found, 11.0, bench)
    assert finding.seen == (
        "at 2 layers, with skip connections the gradient of the encoder's first layer is 0.5 to 2e+20 of that of the "
        "decoder's last, the gradient of the decoder's first 0.25 to 1.5, and perplexity is diverged (no norm), 2.5 "
        "(layer norm, post); without skip connections the gradient of the encoder's first layer is 0 to 1.5 of that of "
        "the decoder's last, the gradient of the decoder's first 0, and perplexity is inf (no norm), 10 (layer norm, "
        "post). The tokens' frequencies alone give 11."
    )


def test_depth_draws_what_is_zero_infinite_or_diverged_at_the_bounds() -> None:
    found = [_stacked("no norm", True, [8e20, 0.0], None), _stacked("no norm", True, [3.0, 1.0, 1.0, 0.0], math.inf)]
    gradients, perplexities = Figure().subplots(1, 2)
    depth._draw_gradients(gradients, 1, found[:1])
    depth._draw_perplexities(perplexities, [1, 2], {"no norm, skip": found}, 11.0)
    assert [list(line.get_ydata()) for line in gradients.lines[:2]] == [[1e7], [1e-12]]
    assert list(perplexities.lines[0].get_ydata()) == [100.0, 100.0]
    assert perplexities.get_ylim()[1] < 200


def test_frequencies_alone_give_the_perplexity_of_counts_plus_one(tmp_path: Path) -> None:
    for name, lines in (("train", "ab\nb\n"), ("valid", "a\nc\n")):
        (tmp_path / f"{name}.xx").write_text("x\n" * 2)
        (tmp_path / f"{name}.yy").write_text(lines)
    train, valid = (Corpus.of([tmp_path / f"{name}.xx", tmp_path / f"{name}.yy"]) for name in ("train", "valid"))
    characters = SimpleNamespace(encode=lambda text: [ord(each) for each in text], vocab_size=5)
    # of train's 5 tokens a is one, b two, the ends of two lines the rest; plus one for each of the vocabulary's 5
    expected = (2 / 10 * 3 / 10 * 1 / 10 * 3 / 10) ** (-1 / 4)
    assert depth.by_frequency(characters, train, valid) == pytest.approx(expected)  # type: ignore[arg-type]


def test_given_corpora_are_named_as_fetch_names_them(tmp_path: Path) -> None:
    for name in ("train", "val", "test_2016"):
        for language in ("xx", "yy"):
            (tmp_path / f"{name}.{language}").write_text("a\n")
    task = given(PROFILES["seconds"], tmp_path, "xx", "yy")
    assert [path.name for path in task.tests["test"].paths] == ["test_2016.xx", "test_2016.yy"]
    (tmp_path / "val.yy").unlink()
    with pytest.raises(HeedfulError, match=r"val\.yy is not there"):
        given(PROFILES["seconds"], tmp_path, "xx", "yy")


def test_every_training_experiment_writes_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["bottleneck", "weights", "depth", "positions"]
    command = ["reproduce", "lecture", "--profile", "seconds", "--only", ",".join(names), "--output", str(tmp_path)]
    assert main(command) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[:4]] == names
    for name in names:
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert f"{name}.md" in (tmp_path / "lecture.md").read_text()
    with (tmp_path / "depth.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(10 * 2 * layers for layers in PROFILES["seconds"].depths)
    assert all(line["perplexity"] == "diverged" or float(line["perplexity"]) > 1 for line in lines)


def test_ctrl_c_leaves_everything_to_go_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["reproduce", "lecture", "--profile", "seconds", "--only", "bottleneck", "--output", str(tmp_path)]
    update = Trainer.update

    def interrupted(self: Trainer, *groups: object) -> object:
        if (self.directory.parent.name, self.position.step) == ("dates-rnn-attention", 1):
            signal.raise_signal(signal.SIGINT)
        return update(self, *groups)

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "update", interrupted)
        assert main(command) == 128 + signal.SIGINT
    assert "goes on from here" in capsys.readouterr().err
    assert not (tmp_path / "bottleneck.md").exists()
    begun: list[tuple[str, int]] = []

    def watched(self: Trainer, *groups: object) -> object:
        begun.append((self.directory.parent.name, self.position.step))
        return update(self, *groups)

    monkeypatch.setattr(Trainer, "update", watched)
    assert main(command) == 0
    assert begun[0] == ("dates-rnn-attention", 2)  # the update during which it was told to leave was finished
    assert {name for name, _ in begun} == {"dates-rnn-attention", "dates-transformer"}
    assert (tmp_path / "bottleneck.md").exists()
