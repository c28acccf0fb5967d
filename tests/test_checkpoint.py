"""Model directories: whole or not there, checked when read, averaged as Section 6.1 says."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from heedful import checkpoint
from heedful.checkpoint import Checkpoint
from heedful.data.config import DataConfig
from heedful.data.tokenizer import Tokenizer, Tokenizers
from heedful.errors import HeedfulError
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from tests.small import full_disk

_MODEL = TransformerConfig(layers=1, d_model=8, d_ff=11, heads=2)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A model directory with three checkpoints: BLEU 10, 30 and 20 after steps 1, 2 and 3."""
    run = tmp_path / "run"
    run.mkdir()
    tokenizer = Tokenizer.train(["a dog runs", "a cat sleeps"], DataConfig(vocab_size=300))
    Tokenizers(tokenizer, tokenizer).save(run)
    checkpoint.write_file(
        run / "config.json",
        checkpoint.to_json(
            {"model": {"architecture": "transformer", "layers": 1, "d_model": 8, "d_ff": 11, "heads": 2}}
        ),
    )
    for step, bleu in ((1, 10.0), (2, 30.0), (3, 20.0)):
        torch.manual_seed(step)
        model = build_model(_MODEL, tokenizer.vocab_size, tokenizer.vocab_size)
        made = Checkpoint(f"step-{step:08d}", step, 0, bleu=bleu, perplexity=9.0)
        checkpoint.save(run, made, checkpoint.model_tensors(model), {"x": torch.tensor([step])})
    return run


def test_the_best_bleu_is_the_model(directory: Path) -> None:
    loaded = checkpoint.load_model(directory)
    assert loaded.checkpoint.step == 2
    torch.manual_seed(2)
    vocab = loaded.tokenizers.source.vocab_size
    fresh = build_model(_MODEL, vocab, vocab)
    for name, tensor in checkpoint.model_tensors(fresh).items():
        assert torch.equal(tensor, checkpoint.model_tensors(loaded.model)[name]), name
    assert not loaded.model.training


def test_the_average_is_the_mean_of_the_last(directory: Path, tmp_path: Path) -> None:
    mean = checkpoint.average(directory, tmp_path / "mean", last=2)
    assert mean.averaged == ("step-00000002", "step-00000003")
    found = checkpoint.load_tensors(tmp_path / "mean", checkpoint.best(tmp_path / "mean"))
    parts = [checkpoint.load_tensors(directory, made) for made in checkpoint.all_checkpoints(directory)[-2:]]
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, (parts[0][name] + parts[1][name]) / 2)
    assert checkpoint.load_model(tmp_path / "mean").checkpoint.name == "average-2"


def test_the_average_of_the_best_takes_them_by_bleu(directory: Path, tmp_path: Path) -> None:
    mean = checkpoint.average(directory, tmp_path / "mean", best_count=2)
    assert set(mean.averaged) == {"step-00000002", "step-00000003"}
    with pytest.raises(HeedfulError, match="3 validated checkpoints, 4 were asked for"):
        checkpoint.average(directory, tmp_path / "other", best_count=4)
    assert not (tmp_path / "other").exists()


def test_pruning_keeps_the_best_and_the_newest(directory: Path) -> None:
    checkpoint.prune(directory, keep_last=1, keep_best=1)
    assert [made.step for made in checkpoint.all_checkpoints(directory)] == [2, 3]
    assert sorted(path.name for path in (directory / "checkpoints").iterdir()) == ["step-00000002", "step-00000003"]


def test_pruning_keeps_no_more_than_asked(directory: Path) -> None:
    checkpoint.save(directory, Checkpoint("step-00000004", 4, 0, bleu=40.0, perplexity=9.0), {"x": torch.zeros(1)})
    checkpoint.prune(directory, keep_last=1, keep_best=1)
    assert [made.step for made in checkpoint.all_checkpoints(directory)] == [4]


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "source.model",
        "checkpoints/step-00000002/model.safetensors",
        "checkpoints/step-00000002/checkpoint.json",
    ],
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "altered"])
def test_a_damaged_file_is_an_error_that_names_it(directory: Path, name: str, damage: str) -> None:
    path = directory / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    with pytest.raises(HeedfulError) as caught:
        checkpoint.load_model(directory)
    message = str(caught.value)
    assert path.name in message or str(path.parent) in message
    assert "\n" not in message


def test_a_full_disk_leaves_the_checkpoints_as_they_were(directory: Path) -> None:
    before = sorted((path, path.read_bytes()) for path in directory.rglob("*") if path.is_file())
    large = nn.Linear(600, 600)
    with full_disk(100_000), pytest.raises(HeedfulError, match="cannot write"):
        checkpoint.save(directory, Checkpoint("step-00000004", 4, 0), checkpoint.model_tensors(large))
    assert sorted((path, path.read_bytes()) for path in directory.rglob("*") if path.is_file()) == before
    assert checkpoint.load_model(directory).checkpoint.step == 2


def test_an_average_that_finds_no_room_leaves_nothing(directory: Path, tmp_path: Path) -> None:
    size = checkpoint.best(directory).name and (directory / "source.model").stat().st_size
    with full_disk(size), pytest.raises(HeedfulError, match="cannot write"):
        checkpoint.average(directory, tmp_path / "mean", last=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize("name", ["config.json", "source.model"])
def test_nothing_is_averaged_beside_a_damaged_file(directory: Path, tmp_path: Path, name: str) -> None:
    content = (directory / name).read_bytes()
    (directory / name).write_bytes(content.replace(b"1", b"2").replace(b"dog", b"fog"))
    with pytest.raises(HeedfulError, match=f"{name} is damaged"):
        checkpoint.average(directory, tmp_path / "mean", last=2)
    assert not (tmp_path / "mean").exists()


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(HeedfulError, match="bias"):
        checkpoint.load_weights(nn.Linear(3, 2), {"weight": torch.zeros(2, 3), "bias": torch.zeros(3)})


def test_files_hold_no_pickle(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file():
            assert path.suffix in {".json", ".safetensors", ".model"}, path
            if path.suffix == ".json":
                json.loads(path.read_text())
