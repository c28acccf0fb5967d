"""What a training will cost, said before it starts: sizes by formula, time by a short measurement of real updates."""

import itertools
import tempfile
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from heedful import kernels
from heedful.data.batches import Indices, TrainingData
from heedful.data.corpus import Corpus
from heedful.data.tokenizer import Tokenizers
from heedful.errors import HeedfulError
from heedful.model.build import build_model, native_precision
from heedful.model.complexity import ADAM_BYTES, activation_bytes, parameters, training_flops
from heedful.progress import progress
from heedful.recipes import paper
from heedful.recipes.config import Recipe
from heedful.recipes.gpus import SECONDS_AN_UPDATE, UTILISATION, Gpu
from heedful.recipes.run import learn_tokenizers, new_model
from heedful.training import distributed
from heedful.training.optimizer import check_schedule
from heedful.training.trainer import Trainer, Validation

_SAMPLE = 100_000
"""Pairs from which tokens are learned and counted; an even sample where there are more."""
_SMALLEST_SHARE = 64


@dataclass(frozen=True)
class Data:
    """What the recipe makes of the text. Means are over real tokens, EOS included."""

    lines: int
    sampled: int
    vocabulary: tuple[int, int]
    source_tokens: float
    """A pair's mean."""
    target_tokens: float
    pairs_per_update: float
    padding: float
    """Share of a batch that is padding."""
    updates_per_epoch: float


@dataclass(frozen=True)
class Memory:
    """Bytes on one device."""

    state: int
    """Weights, gradients, the optimiser's moments (Adam's two; Muon has fewer) and the moving average."""
    activations: int
    """Of what the device computes at once; by formula, to about a fifth."""
    tokens_at_once: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.state + self.activations


@dataclass(frozen=True)
class Measurement:
    """Real updates on this machine: seconds = overhead + seconds_per_token · target tokens."""

    device: str
    threads: int
    updates: int
    smallest: int
    """Target tokens of the smallest update."""
    largest: int
    seconds: float
    overhead: float
    seconds_per_token: float


@dataclass(frozen=True)
class OnGpus:
    """The same training on several GPUs of a kind."""

    gpu: Gpu
    count: int
    utilisation: float
    hours: float
    memory: Memory
    paper_hours: float | None
    """The paper's own time, where this is its training on its machine."""


@dataclass(frozen=True)
class Plan:
    """Everything `heedful plan` says."""

    recipe: str
    parameters: dict[str, int]
    data: Data
    updates: int
    epochs: float
    source_tokens: float
    target_tokens: float
    flops: float
    """Of matrix products on real tokens, forward and backward."""
    flops_by_paper: float | None
    """By the paper's convention, time · GPUs · assumed speed, of its own times; None for other recipes."""
    memory: Memory
    measurement: Measurement
    hours: float
    gpus: Sequence[OnGpus]


def make_plan(recipe: Recipe, corpora: Sequence[Corpus], kinds: Sequence[Gpu], count: int, seconds: float) -> Plan:
    """Tokenises a sample, trains for about so many seconds in a directory that is removed, and extrapolates.

    Raises `HeedfulError` for bad input, and where nothing limits the training.
    """
    with torch.device("meta"):  # numbers that do not fit together are told first
        build_model(recipe.model, recipe.data.vocab_size, recipe.data.vocab_size)
    training = recipe.training
    if not (training.max_steps or training.max_epochs or training.max_minutes):
        raise HeedfulError("nothing says how long to train; pass --max-steps, --max-epochs or --max-minutes")
    check_schedule(training)
    if training.threads:
        torch.set_num_threads(training.threads)
    device = distributed.choose_device(training.device)
    on_gpus, recipe = recipe, _settled(recipe, native_precision(device))
    lines = sum(corpus.count() for corpus in corpora)
    if not lines:
        raise HeedfulError(f"{corpora[0].paths[0]} has no sentence pair; give a training corpus")
    with tempfile.TemporaryDirectory(prefix="heedful-plan-") as name:
        directory = Path(name)
        sample = _sample(corpora, lines, directory)
        tokenizers = learn_tokenizers([sample], recipe)
        one_way = replace(recipe.data, both_directions=0)
        data = TrainingData.prepare([sample], None, tokenizers, one_way, training.seed, directory / "data")
        batches = data.batches(0)
        facts, lengths = _facts(recipe, data, batches, lines, min(lines, _SAMPLE), tokenizers)
        measured = _measure(_trainer(recipe, tokenizers, data, device, directory), batches, seconds)
    vocabulary = facts.vocabulary
    tokens = facts.pairs_per_update * facts.target_tokens

    def seconds_of(updates: int) -> float:
        per_update = measured.seconds_per_token * tokens
        return updates * measured.overhead + training.passes_before(updates) / training.passes * per_update

    in_time = training.max_minutes and bisect_right(range(1, 10**9), 60 * training.max_minutes, key=seconds_of)
    # the first epochs may have every pair twice
    both = round(recipe.data.both_directions / training.accumulate / (2 * facts.updates_per_epoch))
    whole = training.max_epochs and training.max_epochs + min(both, training.max_epochs)
    epochs = whole and round(whole * facts.updates_per_epoch)
    updates = max(1, min(limit for limit in (training.max_steps, epochs, in_time) if limit))
    visits = updates / facts.updates_per_epoch
    pairs = updates * facts.pairs_per_update
    passes = training.passes_before(updates)
    flops = sum(
        number * training_flops(recipe.model, vocabulary[1], source, target)
        for (source, target), number in lengths.items()
    )
    each = passes / updates * flops / sum(lengths.values())
    paper_hours = paper.hours(recipe)
    count_of = parameters(recipe.model, *vocabulary)
    return Plan(
        recipe.name,
        asdict(count_of) | {"total": count_of.total},
        facts,
        updates,
        max(visits / 2, visits - both),
        pairs * facts.source_tokens,
        pairs * facts.target_tokens,
        pairs * each,
        paper.claimed_flops(paper_hours) if paper_hours else None,
        _memory(recipe, facts, count_of.total, 1, fused=kernels.backend(torch.empty(0, device=device)) is not None),
        measured,
        seconds_of(updates) / 3600,
        [_on_gpus(on_gpus, facts, count_of.total, pairs * each, updates, kind, count) for kind in kinds],
    )


def _sample(corpora: Sequence[Corpus], lines: int, directory: Path) -> Corpus:
    """At most `_SAMPLE` pairs, evenly from all corpora, as two files. Reads to the end, so every fault is told."""
    step = -(-lines // _SAMPLE)
    paths = [directory / f"sample.{side}" for side in ("source", "target")]
    with paths[0].open("w", encoding="utf-8") as source, paths[1].open("w", encoding="utf-8") as target:
        for pair in itertools.islice(itertools.chain.from_iterable(c.pairs() for c in corpora), 0, None, step):
            for file, text in zip((source, target), pair, strict=True):
                file.write(text.replace("\n", " ") + "\n")
    return Corpus.of(paths)


def _facts(
    recipe: Recipe,
    data: TrainingData,
    batches: Sequence[Indices],
    lines: int,
    sampled: int,
    tokenizers: Tokenizers,
) -> tuple[Data, Counter[tuple[int, int]]]:
    """What the sample says of the whole, and how many of its pairs have which lengths."""
    lengths: Counter[tuple[int, int]] = Counter()
    places = 0
    for indices in batches:
        source, target = data.lengths(indices)
        places += len(indices) * int(source.max() + target.max())
        lengths.update(zip(source.tolist(), target.tolist(), strict=True))
    pairs = sum(lengths.values())
    sums = [sum(pair[side] * number for pair, number in lengths.items()) for side in (0, 1)]
    vocabularies = (tokenizers.source.vocab_size, tokenizers.target.vocab_size)
    per_update = recipe.training.accumulate * pairs / len(batches)
    facts = Data(
        lines,
        sampled,
        vocabularies if sampled == lines else (recipe.data.vocab_size, recipe.data.vocab_size),
        sums[0] / pairs,
        sums[1] / pairs,
        per_update,
        1 - sum(sums) / places,
        pairs * lines / sampled / per_update,
    )
    return facts, lengths


def _settled(recipe: Recipe, native: str) -> Recipe:
    """Precision auto becomes what a device is fast in."""
    return recipe.override({"precision": native}) if recipe.training.precision == "auto" else recipe


def _memory(recipe: Recipe, facts: Data, total: int, devices: int, fused: bool = True) -> Memory:
    training = recipe.training
    share = -(-recipe.data.batch_tokens // devices)
    tokens = min(share, (training.device_tokens or training.passes * share) // training.passes)
    # Muon's matrices have one moment, not Adam's two: that much less at most
    state = total * (ADAM_BYTES + (4 if training.ema_decay else 0) + (2 if training.precision == "bfloat16" else 0))
    source, target = round(facts.source_tokens), round(facts.target_tokens)
    pair = recipe.training.passes * activation_bytes(recipe.model, source, target, training.precision, fused)
    return Memory(state, round(pair * tokens / max(source, target)), tokens)


def _on_gpus(recipe: Recipe, facts: Data, total: int, flops: float, updates: int, kind: Gpu, count: int) -> OnGpus:
    recipe = _settled(recipe, "bfloat16" if kind.bfloat16 else "float32")
    seconds = flops / (count * UTILISATION * kind.peak(recipe.training.precision))
    seconds = max(seconds, updates * SECONDS_AN_UPDATE)
    in_paper = paper.hours(recipe) if kind.name == "P100" and count == 8 else None
    return OnGpus(kind, count, UTILISATION, seconds / 3600, _memory(recipe, facts, total, count), in_paper)


def _trainer(
    recipe: Recipe, tokenizers: Tokenizers, data: TrainingData, device: torch.device, directory: Path
) -> Trainer:
    def no_validation(_: object) -> Validation:
        raise AssertionError("a plan trains without validating")

    torch.manual_seed(recipe.training.seed)
    model = new_model(recipe.model, tokenizers, recipe.trees).to(device)
    training = replace(recipe.training, decay_steps=recipe.training.decay_steps or recipe.training.max_steps)
    training = replace(training, consistency_after=0)  # the dearer updates
    return Trainer(model, data, training, recipe.model.d_model, no_validation, directory)


def _measure(trainer: Trainer, batches: Sequence[Indices], seconds: float) -> Measurement:
    """Updates from growing parts of batches, up to whole ones where the time allows, fitted by a line."""
    found: list[tuple[int, float]] = []
    started, share = time.monotonic(), 1 / _SMALLEST_SHARE
    with progress("measuring", seconds) as meter:
        for indices in itertools.cycle(batches):
            before = time.monotonic()
            found.append(_timed(trainer, indices[: max(1, round(share * len(indices)))]))
            used, took = time.monotonic() - started, time.monotonic() - before
            meter.update(min(seconds, used))
            if used + took > seconds and len(found) > 2:
                break
            if used + 4 * took < seconds:  # two of twice the size fit
                share = min(1.0, 2 * share)
    found = found[1:]  # the first one also warms up
    sizes, times = (np.array(column, np.float64) for column in zip(*found, strict=True))
    # least squares of the relative error
    design = np.stack((1 / times, sizes / times), axis=1)
    overhead, per_token = (float(value) for value in np.linalg.lstsq(design, np.ones(len(found)))[0])
    if overhead < 0 or per_token <= 0:
        overhead, per_token = 0.0, float(times.sum() / sizes.sum())
    device = trainer.model.device
    return Measurement(
        torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        torch.get_num_threads(),
        len(found),
        int(sizes.min()),
        int(sizes.max()),
        used,
        overhead,
        per_token,
    )


def _timed(trainer: Trainer, indices: Indices) -> tuple[int, float]:
    """Target tokens of one update from these pairs, and its seconds.

    On a GPU of the third one: with the first two of a shape kernels are compiled and graphs recorded.
    """
    on_gpu = trainer.model.device.type == "cuda"
    for _ in range(2 if on_gpu else 0):
        trainer.update([indices])
    begin = time.monotonic()
    tokens = trainer.update([indices])[2]
    if on_gpu:
        torch.cuda.synchronize(trainer.model.device)
    return tokens, time.monotonic() - begin
