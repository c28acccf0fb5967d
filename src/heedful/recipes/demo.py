"""The demo: the lecture's three generations on dates, side by side in one table and on one page."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import heedful
from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus
from heedful.data.dates import Example, make_dates, per_date_matches, write_dates
from heedful.decoding.config import SearchConfig
from heedful.decoding.translator import Translator
from heedful.model.config import ModelConfig, RecurrentConfig, TransformerConfig
from heedful.recipes.config import Recipe
from heedful.recipes.job import Job
from heedful.recipes.run import run
from heedful.training.config import TrainingConfig

TRAIN, VALID, TEST = 40_000, 300, 2000
"""Lines of the three sets; no calendar date stands in two of them."""
LENGTHS = (20, 40, 60, 90, 150)
"""Upper ends of the table's columns, in source characters."""
_SEED = 1
_data = DataConfig(vocab_size=1000, character_coverage=1.0, split_digits=True, batch_tokens=2048, short_first=True)
_training = TrainingConfig(
    schedule="inverse-sqrt",
    lr=2e-3,
    warmup_steps=200,
    ema_decay=0.99,
    clip_norm=1.0,
    validate_every=1_000_000,
)


@dataclass(frozen=True)
class Generation:
    """A column of the demo: a recipe and its share of the minutes."""

    recipe: Recipe
    share: float


def _recipe(name: str, summary: str, model: ModelConfig, **training: float) -> Recipe:
    return Recipe(name, summary, model, _data, replace(_training, **training), SearchConfig(beam_size=1))


GENERATIONS = (
    Generation(
        _recipe(
            "rnn",
            "RNN Seq2Seq: one fixed-length vector for the whole source",
            RecurrentConfig(attention="none", dropout=0.1),
        ),
        0.25,
    ),
    Generation(
        _recipe(
            "rnn-attention",
            "RNN Seq2Seq with attention: every encoder state at every step",
            RecurrentConfig(attention="dot", dropout=0.1),
        ),
        0.3,
    ),
    Generation(
        _recipe(
            "transformer",
            "Transformer: attention alone",
            TransformerConfig(layers=2, d_model=128, d_ff=512, heads=4, dropout=0.1),
        ),
        0.45,
    ),
)


@dataclass(frozen=True)
class Result:
    """A row of the table."""

    name: str
    lines: float
    """Share of lines that are right, in percent."""
    dates: float
    """Share of dates that are right, in percent."""
    single_dates: float
    """Share of right lines among those that hold one date, in percent."""
    by_length: Sequence[float]
    """Share of right lines by source length, in percent."""
    parameters: int
    tokens_per_second: float
    seconds: float


def write_data(directory: Path) -> dict[str, list[Example]]:
    """Three corpora, PART.source and PART.target."""
    parts = {}
    for part, size in (("train", TRAIN), ("valid", VALID), ("test", TEST)):
        parts[part] = make_dates(size, _SEED, "all", "iso", ("single", "interval", "list"), split=part)
        write_dates(parts[part], directory / part)
    return parts


def train(generation: Generation, data: Path, output: Path, minutes: float) -> Translator:
    """One generation, for its share of `minutes`."""
    corpora = {
        part: Corpus.of((data / f"{part}.source", data / f"{part}.target")) for part in ("train", "valid")
    }
    limits = replace(generation.recipe.training, max_minutes=minutes * generation.share)
    run(Job(replace(generation.recipe, training=limits), [corpora["train"]], [1.0], corpora["valid"], output))
    return heedful.load(output)


def measure(name: str, translator: Translator, examples: Sequence[Example]) -> Result:
    """Exact match on `examples`."""
    outputs = [translation.text for translation in translator.translate([example.source for example in examples])]
    right = [output == example.target for output, example in zip(outputs, examples, strict=True)]
    dates = [per_date_matches(output, example.target) for output, example in zip(outputs, examples, strict=True)]
    single = [hit for hit, example in zip(right, examples, strict=True) if example.kind == "single"]
    columns = [
        [hit for hit, example in zip(right, examples, strict=True) if low < len(example.source) <= high]
        for low, high in zip((0, *LENGTHS), LENGTHS, strict=False)
    ]
    model, speed = translator.models[0], list(_speeds(translator.loaded[0].directory))
    return Result(
        name,
        _percent(right),
        100 * sum(hits for hits, _ in dates) / sum(count for _, count in dates),
        _percent(single),
        [_percent(column) for column in columns],
        sum(parameter.numel() for parameter in model.parameters()),
        sum(speed) / max(1, len(speed)),
        float(translator.loaded[0].checkpoint.progress["seconds"]),
    )
