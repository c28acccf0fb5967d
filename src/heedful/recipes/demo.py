"""The demo: the lecture's three generations on dates, side by side in one table and on one page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import heedful
from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus
from heedful.data.dates import Example, make_splits, per_date_matches, write_dates
from heedful.decoding.config import SearchConfig
from heedful.decoding.translator import Translator
from heedful.inspection.record import Inspection
from heedful.inspection.save import save
from heedful.model.config import ModelConfig, RecurrentConfig, TransformerConfig
from heedful.recipes.config import Recipe
from heedful.recipes.job import Job
from heedful.recipes.run import run
from heedful.training.config import TrainingConfig

TRAIN, VALID, TEST = 12_000, 300, 2000
"""Lines of the three sets; no calendar date stands in two of them."""
LENGTHS = (20, 40, 80, 150)
"""Upper ends of the table's columns, in source characters."""
LIST_LENGTHS = (2, 4)
"""Dates in a list."""
_SEED = 1
_data = DataConfig(vocab_size=1000, character_coverage=1.0, split_digits=True, batch_tokens=1024, short_first=True)
_training = TrainingConfig(
    schedule="inverse-sqrt",
    lr=3e-3,
    warmup_steps=200,
    label_smoothing=0.0,
    ema_decay=0.99,
    clip_norm=1.0,
    validate_every=1_000_000,
)


@dataclass(frozen=True)
class Generation:
    """A column of the demo: a recipe and its share of the minutes."""

    recipe: Recipe
    share: float


def _recipe(name: str, summary: str, model: ModelConfig) -> Recipe:
    return Recipe(name, summary, model, _data, _training, SearchConfig(beam_size=1))


GENERATIONS = (
    Generation(
        _recipe(
            "rnn",
            "RNN Seq2Seq: one fixed-length vector for the whole source",
            RecurrentConfig(attention="none", dropout=0.0),
        ),
        0.12,
    ),
    Generation(
        _recipe(
            "rnn-attention",
            "RNN Seq2Seq with attention: every encoder state at every step",
            RecurrentConfig(attention="dot", dropout=0.0),
        ),
        0.3,
    ),
    Generation(
        _recipe(
            "transformer",
            "Transformer: attention alone",
            TransformerConfig(layers=2, d_model=128, d_ff=512, heads=4, dropout=0.0),
        ),
        0.58,
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


def make_data(directory: Path) -> dict[str, list[Example]]:
    """Three corpora, in memory and as PART.source and PART.target; without times, to be learned in minutes."""
    parts: dict[str, list[Example]] = make_splits(
        TRAIN, VALID, TEST, _SEED, list_lengths=LIST_LENGTHS, times=False
    )._asdict()
    for part, examples in parts.items():
        write_dates(examples, directory / part)
    return parts


def train(generation: Generation, data: Path, output: Path, minutes: float) -> Translator:
    """One generation, for its share of `minutes`."""
    train_set, valid_set = (
        Corpus.of((data / f"{part}.source", data / f"{part}.target")) for part in ("train", "valid")
    )
    limits = replace(generation.recipe.training, max_minutes=minutes * generation.share)
    run(Job(replace(generation.recipe, training=limits), [train_set], [1.0], valid_set, output))
    return heedful.load(output)


def measure(name: str, translator: Translator, examples: Sequence[Example]) -> Result:
    """Exact match on `examples`."""
    outputs = [translation.text for translation in translator.translate([example.source for example in examples])]
    right = [output == example.target for output, example in zip(outputs, examples, strict=True)]
    dates = [per_date_matches(output, example.target) for output, example in zip(outputs, examples, strict=True)]
    lengths = [len(example.source) for example in examples]
    loaded = translator.loaded[0]
    return Result(
        name,
        _percent(right),
        100 * sum(hits for hits, _ in dates) / sum(count for _, count in dates),
        _percent([hit for hit, example in zip(right, examples, strict=True) if example.kind == "single"]),
        [
            _percent([hit for hit, length in zip(right, lengths, strict=True) if low < length <= high])
            for low, high in pairwise((0, *LENGTHS))
        ],
        sum(parameter.numel() for parameter in loaded.model.parameters()),
        _tokens_per_second(loaded.directory),
        float(loaded.checkpoint.progress["seconds"]),
    )


def save_page(path: Path, translators: Mapping[str, Translator], sentence: str) -> None:
    """The generations side by side on the same sentence."""
    save(path, [Inspection.of(each.translate([sentence])[0], name=name) for name, each in translators.items()])


def _percent(hits: Sequence[bool]) -> float:
    return 100 * sum(hits) / len(hits) if hits else float("nan")


def _tokens_per_second(directory: Path) -> float:
    """The median of the training records, in target tokens."""
    lines = (directory / "metrics.jsonl").read_text(encoding="utf-8").split("\n")
    speeds = [record["tokens_per_second"] for line in lines if line and "loss" in (record := json.loads(line))]
    return median(speeds) if speeds else float("nan")
