"""From two text files to a trained model directory: recipe → tokens → model → trainer."""

import platform
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter

from heedful import checkpoint
from heedful.checkpoint import Checkpoint
from heedful.data.batches import TrainingData
from heedful.data.corpus import Corpus
from heedful.data.tokenizer import Tokenizer, Tokenizers
from heedful.data.treebank.config import TreeConfig
from heedful.decoding.tree_symbols import TreeSymbols
from heedful.errors import HeedfulError
from heedful.model.build import build_model, native_precision
from heedful.model.config import ModelConfig
from heedful.recipes.config import SECTIONS, Recipe
from heedful.recipes.job import Job
from heedful.recipes.validation import make_validation
from heedful.training import distributed
from heedful.training.optimizer import check_schedule
from heedful.training.trainer import Model, Outcome, Trainer, Validation

_STARTING = ".starting"
"""Stands in a directory of ours that is not whole yet."""
_LIMITS = ("max_steps", "max_epochs", "max_minutes")


def run(job: Job) -> Outcome:
    """Trains, or goes on where the same command stopped before.

    Raises `HeedfulError` for bad input, and where the directory holds a different run.
    """
    training = job.recipe.training
    if training.threads:
        torch.set_num_threads(training.threads)
    device = distributed.choose_device(training.device)
    with distributed.process_group(device):
        job = _settled(job, device)
        if distributed.rank() == 0:
            _prepare(job)
        distributed.wait()
        return _train(job, device)


def _settled(job: Job, device: torch.device) -> Job:
    """Precision auto becomes what this device is fast in, or, where a run goes on, what it began with."""
    if job.recipe.training.precision != "auto":
        return job
    if (job.output / checkpoint.CONFIG).exists():
        precision = checkpoint.load_config(job.output)["training"]["precision"]
    else:
        precision = native_precision(device)
    low = distributed.from_first(precision == "bfloat16", device)  # on every process alike
    precision = "bfloat16" if low else "float32"
    return replace(job, recipe=job.recipe.override({"precision": precision}))


def _train(job: Job, device: torch.device) -> Outcome:
    config = checkpoint.load_config(job.output)
    tokenizers = Tokenizers.load(job.output)
    recipe = job.recipe
    data = TrainingData.prepare(
        job.train, job.weights, tokenizers, recipe.data, recipe.training.seed, job.output / "data"
    )
    torch.manual_seed(recipe.training.seed)
    model_config: ModelConfig = TypeAdapter(ModelConfig).validate_python(config["model"])
    model = new_model(model_config, tokenizers, recipe.trees)
    if job.init_from:
        _start_from(model, job.init_from)
    # the cosine keeps the length it was started with
    decay = config["training"]["decay_steps"] or config["training"]["max_steps"]
    training = replace(recipe.training, decay_steps=decay)
    validate = make_validation(recipe, job.valid, tokenizers)
    trainer = Trainer(model.to(device), data, training, model_config.d_model, validate, job.output)
    finished = trainer.finished()
    if not finished and training.schedule == "cosine" and decay and trainer.position.step >= decay:
        raise HeedfulError(
            f"{job.output}: its learning rate came to zero at update {decay}, so that nothing more is learned; "
            "for a longer training begin anew, or go on in a new directory with --init-from"
        )
    outcome = Outcome(f"this run is finished: {finished}", trainer.position) if finished else trainer.run()
    if training.average_last == 1 or outcome.signal or distributed.rank() != 0:
        return outcome
    return replace(outcome, mean=_average_last(job, trainer.model, validate))


def _start_from(model: Model, directory: Path) -> None:
    """The weights of another model."""
    checkpoint.load_weights(model, checkpoint.model_tensors(checkpoint.load_model(directory).model))


def new_model(config: ModelConfig, tokenizers: Tokenizers, trees: TreeConfig | None) -> Model:
    """Fresh weights for these vocabularies."""
    tokens = None if trees is None else TreeSymbols(trees, tokenizers.target).parser_tokens(tokenizers.source)
    return build_model(config, tokenizers.source.vocab_size, tokenizers.target.vocab_size, tokens)


def _average_last(job: Job, model: Model, validate: Callable[[Model], Validation]) -> Checkpoint | None:
    """The mean of the last checkpoints as one more, validated: what the directory means from now on (Section 6.1).

    None where training wrote a single one. What stands there already, of a run that is finished, stays.
    """
    training = job.recipe.training
    trained = checkpoint.scheduled(checkpoint.trained_checkpoints(job.output), training.validate_every)
    chosen = trained[-training.average_last :]
    for known in checkpoint.all_checkpoints(job.output):
        if list(known.averaged) == [each.name for each in chosen]:
            return known
    if len(chosen) < 2:
        return None
    mean, weights = checkpoint.mean_of(job.output, chosen)
    checkpoint.load_weights(model, weights)
    model.eval()
    with torch.no_grad():
        scores = validate(model)
    mean = replace(mean, bleu=scores.bleu, f1=scores.f1, perplexity=scores.perplexity)
    return checkpoint.save(job.output, mean, weights)


def _prepare(job: Job) -> None:
    """Everything that stands in the directory before the first update. On rank 0 alone."""
    recipe = job.recipe
    with torch.device("meta"):  # no memory, no time: numbers that do not fit together are told first
        build_model(recipe.model, recipe.data.vocab_size, recipe.data.vocab_size)
    check_schedule(recipe.training)
    if job.init_from and job.init_from.resolve() == job.output.resolve():
        raise HeedfulError(f"--init-from and --output are both {job.output}; name a new output directory")
    record = _record(job)
    if (job.output / checkpoint.CONFIG).exists():
        before = checkpoint.load_config(job.output)
        before |= recipe.completed({name: section for name in SECTIONS if (section := before.get(name))})
        _same_run(job.output, _identity(before), _identity(record))
        checkpoint.clear_partial(job.output)
    else:
        _start(job, record)
    (job.output / _STARTING).unlink(missing_ok=True)


def _start(job: Job, record: Mapping[str, Any]) -> None:
    """A new run's directory, config.json last. Whatever happens, it is whole afterwards or not there."""
    recipe, directory = job.recipe, job.output
    if (directory / _STARTING).exists():  # a start that was killed
        shutil.rmtree(directory.resolve(), ignore_errors=True)
    if directory.exists() and any(directory.iterdir()):
        raise HeedfulError(f"{directory} is not empty and holds no run of heedful; name a new or empty directory")
    tokenizers = Tokenizers.load(job.init_from) if job.init_from else learn_tokenizers(job.train, recipe)
    parents = [path for path in directory.parents if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / _STARTING).touch()
        tokenizers.save(directory)
        TrainingData.prepare(job.train, job.weights, tokenizers, recipe.data, recipe.training.seed, directory / "data")
        checkpoint.write_file(directory / checkpoint.CONFIG, checkpoint.to_json(record))
    except BaseException as error:
        shutil.rmtree(directory.resolve(), ignore_errors=True)
        with suppress(OSError):  # another run may stand in one of them by now
            for path in parents:
                path.rmdir()
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise HeedfulError(f"cannot write {directory}: {reason}; make room or name another --output") from error
        raise


def learn_tokenizers(corpora: Sequence[Corpus], recipe: Recipe) -> Tokenizers:
    """The vocabularies of a training on these corpora; a parser's symbols are never cut into pieces."""
    sides, config = range(2), recipe.data
    if config.vocabulary == "joint":
        joint = Tokenizer.train((pair[side] for side in sides for c in corpora for pair in c.pairs()), config)
        return Tokenizers(joint, joint)
    learn = (Tokenizer.train, Tokenizer.train_symbols if recipe.trees else Tokenizer.train)
    source, target = (learn[side]((pair[side] for c in corpora for pair in c.pairs()), config) for side in sides)
    return Tokenizers(source, target)


def _record(job: Job) -> dict[str, Any]:
    """config.json: the recipe in full, and what it was trained on."""
    recipe, first = job.recipe, job.train[0]
    # to the last line: what is wrong with it is told now, not at the first validation
    if not sum(1 for source, target in job.valid.pairs() if source.strip() and target.strip()):
        raise HeedfulError(f"{job.valid.paths[0]}: the validation set has no sentence pair; give one that has")
    return {
        "recipe": recipe.name,
        "languages": [first.source_lang, first.target_lang],
        **recipe.sections(),
        "corpora": {
            "train": [
                {"paths": [str(path) for path in corpus.paths], "sha256": corpus.digest(), "weight": weight}
                for corpus, weight in zip(job.train, job.weights, strict=True)
            ],
            "valid": {"paths": [str(path) for path in job.valid.paths], "sha256": job.valid.digest()},
        },
        "init_from": job.init_from
        and {
            "path": str(job.init_from),
            "sha256": checkpoint.verified(job.init_from).files["model.safetensors"],
        },
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("heedful", "torch", "sentencepiece", "sacrebleu")},
            "commit": commit(),
        },
    }


def commit() -> str | None:
    """Of the checkout that this code stands in, "-dirty" where it was changed; None for an installed package."""
    here = Path(__file__).parent
    try:
        command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--exclude", "*"]
        tracked = subprocess.run(["git", "-C", str(here), "ls-files", "--error-unmatch", __file__], capture_output=True)
        return (
            subprocess.run(command, capture_output=True, text=True).stdout.strip() if not tracked.returncode else None
        )
    except OSError:
        return None


def _same_run(directory: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises `HeedfulError` naming the fields in which a directory's run differs from the one asked for."""
    different = [
        f"{name.replace('_', '-')} {before.get(name)} → {now.get(name)}"
        for name in before.keys() | now.keys()
        if name not in _LIMITS and before.get(name) != now.get(name)
    ]
    if different:
        raise HeedfulError(
            f"{directory} holds a different run ({'; '.join(sorted(different))}); "
            "repeat its settings to go on with it, or name another output directory"
        )


def _identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """What may not change between two starts of one run: all but the limits, the paths and the versions."""
    flat = {
        name: value for section in SECTIONS for name, value in config.get(section, {}).items() if name not in _LIMITS
    }
    corpora = config["corpora"]
    return flat | {
        "training data": [(corpus["sha256"][:12], corpus["weight"]) for corpus in corpora["train"]],
        "validation data": corpora["valid"]["sha256"][:12],
        "languages": list(config["languages"]),
        "init-from weights": (config["init_from"] or {}).get("sha256"),
    }
