"""Save, load and average (Section 6.1): safetensors and JSON in a model directory, complete or not there.

    DIR/config.json                       what the model is and what it was trained on; written once
    DIR/source.model [target.model]       SentencePiece models
    DIR/checkpoints/NAME/model.safetensors      weights, as validated
    DIR/checkpoints/NAME/checkpoint.json        step, scores, and the SHA-256 of every file named here
    DIR/checkpoints/NAME/training.safetensors   what training needs to go on; newest checkpoints only

Knows no training: the trainer's state is tensors and JSON to it.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from heedful.data.tokenizer import Tokenizers
from heedful.errors import HeedfulError
from heedful.model.build import build_model
from heedful.model.config import ModelConfig
from heedful.model.seq2seq import Seq2Seq

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
_WEIGHTS, _TRAINING, _INFO = "model.safetensors", "training.safetensors", "checkpoint.json"
_KEEP_TRAINING = 2
"""Checkpoints that keep their training state: the newest, and one more should that prove damaged."""


@dataclass(frozen=True)
class Checkpoint:
    """What checkpoint.json says; scores are None where the checkpoint was not validated."""

    name: str
    step: int
    epoch: int
    bleu: float | None = None
    """Of a model that makes text."""
    f1: float | None = None
    """Labelled, of a parser."""
    perplexity: float | None = None
    progress: Mapping[str, Any] = field(default_factory=dict)
    """The trainer's own account: position in the data, minutes used, patience."""
    averaged: Sequence[str] = ()
    """Names of the checkpoints whose mean this is."""
    files: Mapping[str, str] = field(default_factory=dict)
    """SHA-256 by file name, relative to the checkpoint."""

    @property
    def score(self) -> float | None:
        """By which checkpoints are chosen; higher is better."""
        return self.bleu if self.f1 is None else self.f1


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to translate, with what it needs."""

    model: Seq2Seq[Any, Any]
    tokenizers: Tokenizers
    config: Mapping[str, Any]
    checkpoint: Checkpoint
    directory: Path


def save(
    directory: Path,
    checkpoint: Checkpoint,
    weights: Mapping[str, Tensor],
    training: Mapping[str, Tensor] | None = None,
) -> Checkpoint:
    """Adds a checkpoint to a model directory that has its config.json and tokenizers already.

    Raises `HeedfulError` where it cannot be written; the checkpoints before it stay as they are.
    """
    contents = {_WEIGHTS: _serialised(weights)}
    if training is not None:
        contents[_TRAINING] = _serialised(training)
    shared = (directory / name for name in (CONFIG, *_tokenizer_files(directory)))
    sums = {name: _sha256(content) for name, content in contents.items()}
    sums |= {f"../../{path.name}": _sha256(path.read_bytes()) for path in shared}
    checkpoint = replace(checkpoint, files=sums)
    record = asdict(checkpoint)
    contents[_INFO] = to_json(record | {"sha256": _sha256(to_json(record))})
    write_files(directory / CHECKPOINTS / checkpoint.name, contents)
    return checkpoint


def all_checkpoints(directory: Path) -> list[Checkpoint]:
    """Those of a model directory, oldest first, a mean after what it is the mean of.

    Raises `HeedfulError` for a damaged one.
    """
    paths = (directory / CHECKPOINTS).glob("[!.]*")
    return sorted((_read_info(path / _INFO) for path in paths), key=lambda c: (c.step, len(c.averaged)))


def trained_checkpoints(directory: Path) -> list[Checkpoint]:
    """All that training wrote, means left out: what may be gone on from and averaged."""
    return [checkpoint for checkpoint in all_checkpoints(directory) if not checkpoint.averaged]


def scheduled(checkpoints: Sequence[Checkpoint], every: int) -> list[Checkpoint]:
    """Those that a run leaves whether it was interrupted or not: at multiples of `every` updates, and the newest."""
    return [checkpoint for checkpoint in checkpoints[:-1] if checkpoint.step % every == 0] + list(checkpoints[-1:])


def by_quality(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The validated ones, best BLEU or F1 first; equal ones go by perplexity."""
    validated = [checkpoint for checkpoint in checkpoints if checkpoint.score is not None]
    return sorted(validated, key=lambda c: (-(c.score or 0.0), c.perplexity or float("inf")))


def best(directory: Path) -> Checkpoint:
    """What a model directory means: a mean that stands in it, as training with `average_last` leaves one.

    Without: the checkpoint with the best validation score; the newest where none was validated.
    """
    if not (checkpoints := all_checkpoints(directory)):
        raise HeedfulError(
            f"{directory} has no checkpoint yet; train until the first validation, or stop with Ctrl-C, which saves one"
        )
    means = [checkpoint for checkpoint in checkpoints if checkpoint.averaged]
    return (means[::-1] or by_quality(checkpoints) or checkpoints[::-1])[0]


def prune(directory: Path, keep_last: int, keep_best: int, every: int = 1) -> None:
    """Deletes all but the newest and the best checkpoints, means that training has left behind, and old states.

    One between two multiples of `every` updates does not count as new, but stays while it may be needed to go on.
    """
    trained = trained_checkpoints(directory)
    newest = (*scheduled(trained, every)[-keep_last:], *trained[-min(keep_last, _KEEP_TRAINING) :])
    kept = {c.name for c in (*newest, *by_quality(trained)[:keep_best])}
    for checkpoint in all_checkpoints(directory):
        if checkpoint.name not in kept and (not checkpoint.averaged or checkpoint.step < trained[-1].step):
            path = directory / CHECKPOINTS / checkpoint.name
            aside = path.rename(path.with_name(f".{path.name}.partial"))  # at once no checkpoint any more
            shutil.rmtree(aside)
    for checkpoint in trained[:-_KEEP_TRAINING]:
        (directory / CHECKPOINTS / checkpoint.name / _TRAINING).unlink(missing_ok=True)


def clear_partial(directory: Path) -> None:
    """Removes what an interrupted save or deletion left behind."""
    for path in (directory / CHECKPOINTS).glob(".*.partial"):
        shutil.rmtree(path)


def load_tensors(directory: Path, checkpoint: Checkpoint, training: bool = False) -> dict[str, Tensor]:
    """A checkpoint's weights, or its training state, on the CPU. Raises `HeedfulError` for a damaged file."""
    content = _verified(directory, checkpoint, _TRAINING if training else _WEIGHTS)
    return safetensors.torch.load(content)


def load_config(directory: Path) -> dict[str, Any]:
    """config.json, checked, and with it the tokenizers that the newest checkpoint was saved beside.

    Raises `HeedfulError` where `directory` is no model directory, and for a damaged one.
    """
    path = directory / CONFIG
    try:
        config = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError) as error:
        raise HeedfulError(
            f"{directory} is not a model directory: it has no {CONFIG}; name one that `heedful train` wrote"
        ) from error
    except (OSError, ValueError) as error:
        raise HeedfulError(f"{path} is damaged ({error}); restore it from a copy or train again") from error
    if not isinstance(config, dict) or "model" not in config:
        raise HeedfulError(f"{path} is damaged (no model in it); restore it from a copy or train again")
    for checkpoint in all_checkpoints(directory)[-1:]:
        for name in checkpoint.files:
            if name.startswith("../"):
                _verified(directory, checkpoint, name)
    return config


def verified(directory: Path) -> Checkpoint:
    """The best checkpoint of a model whose every file is as it was written. Raises `HeedfulError` otherwise."""
    load_config(directory)
    checkpoint = best(directory)
    _verified(directory, checkpoint, _WEIGHTS)
    return checkpoint


def load_model(directory: Path, device: torch.device | str = "cpu") -> LoadedModel:
    """The `best` checkpoint, in eval mode.

    Raises `HeedfulError` for a missing, truncated or altered file.
    """
    config = load_config(directory)
    checkpoint = best(directory)
    tokenizers = Tokenizers.load(directory)
    model = build_model(
        TypeAdapter(ModelConfig).validate_python(config["model"]),
        tokenizers.source.vocab_size,
        tokenizers.target.vocab_size,
    )
    load_weights(model, load_tensors(directory, checkpoint))
    return LoadedModel(model.to(device).eval(), tokenizers, config, checkpoint, directory)


def model_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a matrix that is shared stands once."""
    persistent = model.state_dict(keep_vars=True)
    buffers = {name: tensor for name, tensor in model.named_buffers() if name in persistent}
    return dict(model.named_parameters()) | buffers


@torch.no_grad()
def load_weights(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copies `tensors` into a model of the same names and shapes; else raises `HeedfulError`."""
    own = model_tensors(model)
    different = sorted(
        name
        for name in own.keys() | tensors.keys()
        if name not in own or name not in tensors or own[name].shape != tensors[name].shape
    )
    if different:
        raise HeedfulError(
            f"the weights do not fit the model: {', '.join(different[:3])} differ; "
            "use the recipe and the vocabulary they were trained with"
        )
    for name, tensor in tensors.items():
        own[name].copy_(tensor)


def average(directory: Path, output: Path, last: int | None = None, best_count: int | None = None) -> Checkpoint:
    """Writes to `output` a model whose weights are the mean of the last or of the best checkpoints (Section 6.1).

    Raises `HeedfulError` where there are fewer, or where `output` exists.
    """
    config = load_config(directory)
    checkpoints = trained_checkpoints(directory)
    every = config.get("training", {}).get("validate_every", 1)
    chosen = scheduled(checkpoints, every)[-last:] if last else by_quality(checkpoints)[:best_count]
    if len(chosen) < (wanted := last or best_count or 1):
        kind = "checkpoints" if last else "validated checkpoints"
        raise HeedfulError(
            f"{directory} has {len(chosen)} {kind}, {wanted} were asked for; keep more with --keep-last or --keep-best"
        )
    if output.exists():
        raise HeedfulError(f"{output} exists already; name a new directory")
    files = {name: (directory / name).read_bytes() for name in _tokenizer_files(directory)}
    mean, weights = mean_of(directory, chosen)
    try:
        write_files(output, files | {CONFIG: to_json(config)})
        return save(output, mean, weights)
    except BaseException:
        shutil.rmtree(output, ignore_errors=True)
        raise


def mean_of(directory: Path, chosen: Sequence[Checkpoint]) -> tuple[Checkpoint, dict[str, Tensor]]:
    """A checkpoint still to be saved, and its weights: the mean of these, taken in float64."""
    total: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for checkpoint in chosen:
        for name, tensor in load_tensors(directory, checkpoint).items():
            kinds[name] = tensor.dtype
            total[name] = total.get(name, 0) + tensor.double() / len(chosen)
    names = tuple(checkpoint.name for checkpoint in chosen)
    newest = max(chosen, key=lambda checkpoint: checkpoint.step)
    mean = Checkpoint(f"average-{len(chosen)}", newest.step, newest.epoch, averaged=names)
    return mean, {name: tensor.to(kinds[name]) for name, tensor in total.items()}


def to_json(value: Any) -> bytes:
    """As it stands in every JSON file of a model directory."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()


def _tokenizer_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.glob("*.model"))


def _serialised(tensors: Mapping[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_info(path: Path) -> Checkpoint:
    try:
        record = json.loads(path.read_bytes())
        if record.pop("sha256") != _sha256(to_json(record)):
            raise ValueError("its checksum does not agree")
        return Checkpoint(**record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HeedfulError(f"{path} is damaged ({error}); delete {path.parent} to use the other checkpoints") from error


def _verified(directory: Path, checkpoint: Checkpoint, name: str) -> bytes:
    """A file's content once its checksum agrees."""
    path = directory / CHECKPOINTS / checkpoint.name / name
    shared = name.startswith("../")
    remedy = "restore it from a copy" if shared else f"restore it, or delete {path.parent} to use the other checkpoints"
    try:
        content = path.resolve().read_bytes()
    except OSError as error:
        raise HeedfulError(f"{path.resolve()} cannot be read ({error.strerror}); {remedy}") from error
    if _sha256(content) != checkpoint.files.get(name):
        raise HeedfulError(f"{path.resolve()} is damaged: its checksum is not the one in {_INFO}; {remedy}")
    return content


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Creates `directory` with these files, whole or not at all: written aside, fsynced, renamed.

    Raises `HeedfulError` where the disk is full or not writable.
    """
    aside = directory.with_name(f".{directory.name}.partial")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        for name, content in files.items():
            _write_synced(aside / name, content)
        _sync(aside)
        aside.rename(directory)
        _sync(directory.parent)
    except OSError as error:
        raise HeedfulError(
            f"cannot write {directory}: {error.strerror or error}; nothing was changed; make room or name another place"
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_file(path: Path, content: bytes) -> None:
    """Creates or replaces one file, whole or not at all. Raises `HeedfulError` where that fails."""
    aside = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_synced(aside, content)
        aside.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise HeedfulError(
            f"cannot write {path}: {error.strerror or error}; nothing was changed; make room or name another place"
        ) from error
    finally:
        with suppress(OSError):
            aside.unlink()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
