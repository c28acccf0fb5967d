"""What one training is asked to do, by Python, YAML or flags alike. Imports no torch: a wrong flag is told at once."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from heedful.data.corpus import Corpus
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.corpus import TreeCorpus
from heedful.errors import HeedfulError
from heedful.recipes.config import FEW_TREES, Recipe, in_words, read_yaml
from heedful.recipes.named import DEFAULT, PARSER, recipe

logger = logging.getLogger("heedful")

Paths = str | Path | Sequence[str | Path]

NAMED = (
    "recipe",
    "train",
    "train_trees",
    "train_weights",
    "valid",
    "valid_trees",
    "output",
    "source_lang",
    "target_lang",
    "init_from",
)
"""What a job is told beside the fields of its recipe."""
_TOKENIZER_FIELDS = ("tokenizer", "vocab_size", "vocabulary", "character_coverage", "split_digits")


@dataclass(frozen=True)
class Job:
    """One training: what on, from where, into which directory."""

    recipe: Recipe
    train: Sequence[Corpus]
    weights: Sequence[float]
    valid: Corpus
    output: Path
    init_from: Path | None = None


def make_job(config: str | Path | None, arguments: Mapping[str, Any]) -> Job:
    """A job from a YAML file's fields, overridden by `arguments`; None stands for not given.

    Both know recipe, train, train_trees, train_weights, valid, valid_trees, output, source_lang, target_lang,
    init_from and every field of the recipe. Raises `HeedfulError` for what is unknown, missing or of the wrong form.
    """
    values = read_yaml(Path(config)) if config else {}
    values |= {name: value for name, value in arguments.items() if value is not None}
    named = {name: values.pop(name, None) for name in NAMED}
    for name in ("recipe", "output", "source_lang", "target_lang", "init_from"):
        if not isinstance(named[name], str | Path | None):
            raise _wrong(name, named[name], "text, in YAML between quotation marks")
    init_from = Path(named["init_from"]) if named["init_from"] else None
    default = PARSER if named["train_trees"] else DEFAULT
    chosen = recipe(named["recipe"] or default) if not init_from else _recipe_of(init_from, named["recipe"])
    settled = _unchanged(chosen, chosen.override(values)) if init_from else chosen.override(values)
    languages = named["source_lang"], named["target_lang"]
    corpora = training_corpora(settled, named["train"], named["train_trees"], languages)
    valid = _validation_corpus(settled, named, languages)
    if not named["output"]:
        raise _missing("output")
    return Job(
        settled if init_from else for_few(settled, corpora, values),
        corpora,
        _weights(named["train_weights"], len(corpora)),
        valid,
        Path(named["output"]),
        init_from,
    )


def training_corpora(chosen: Recipe, train: Any, train_trees: Any, languages: Sequence[str | None]) -> list[Corpus]:
    """Trees for a parser, text for any other model. Raises `HeedfulError` for what is missing or of the other kind."""
    right, wrong = ("train_trees", "train") if chosen.trees else ("train", "train_trees")
    given = {"train": train, "train_trees": train_trees}
    if given[wrong]:
        raise HeedfulError(f"{_flag(wrong)} is not for recipe {chosen.name}: give it {_flag(right)}")
    if not given[right]:
        raise _missing(right)
    if chosen.trees:
        return [TreeCorpus.read(path, chosen.trees) for path in _paths("train_trees", train_trees)]
    return [Corpus.of(_paths("train", group), *languages) for group in _groups(train)]


def for_few(chosen: Recipe, corpora: Sequence[Corpus], given: Mapping[str, Any]) -> Recipe:
    """The recipe as so few trees want it, `given` values as they are. Raises `HeedfulError` for what is no tree."""
    if not chosen.few:
        return chosen
    trees = (tree for corpus in corpora if isinstance(corpus, TreeCorpus) for tree in corpus.trees())
    if (count := sum(1 for _ in islice(trees, FEW_TREES))) == FEW_TREES:
        return chosen
    few = {name: value for name, value in chosen.few.items() if name not in given}
    if few:
        logger.warning(f"{count:,} trees are few, so of recipe {chosen.name}: {in_words(few)}")
    return chosen.override(few)


def _validation_corpus(chosen: Recipe, named: Mapping[str, Any], languages: Sequence[str | None]) -> Corpus:
    name = "valid_trees" if chosen.trees else "valid"
    if not named[name]:
        raise _missing(name)
    paths = _paths(name, named[name])
    if chosen.trees is None:
        return Corpus.of(paths, *languages)
    if len(paths) != 1:
        raise _wrong(name, named[name], "one path")
    return TreeCorpus.read(paths[0], chosen.trees)


def _missing(name: str) -> HeedfulError:
    return HeedfulError(f"{_flag(name)} is missing; `heedful train --help` shows what to pass")


def _paths(name: str, group: Any) -> tuple[Path, ...]:
    paths = (group,) if isinstance(group, str | Path) else group
    if not isinstance(paths, list | tuple) or not all(isinstance(path, str | Path) for path in paths):
        raise _wrong(name, group, "one path or two" if "trees" not in name else "paths")
    return tuple(Path(path) for path in paths)


def _wrong(name: str, value: Any, wanted: str) -> HeedfulError:
    return HeedfulError(f"{name.replace('_', '-')} cannot be {value!r}: give {wanted}")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _groups(train: Any) -> list[Any]:
    """One corpus, or several: a path, the two paths of a pair of files, or a sequence of either."""
    if not isinstance(train, list | tuple):
        return [train]
    if isinstance(train, tuple) and all(isinstance(path, str | Path) for path in train):
        return [train]
    if isinstance(train, list) and len(train) == 2 and all(isinstance(path, str) for path in train):
        return [train]  # YAML knows no tuples
    return list(train)


def _weights(weights: Any, corpora: int) -> tuple[float, ...]:
    if weights is None:
        return (1.0,) * corpora
    try:
        values = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        values = ()
    if len(values) != corpora or not all(0 <= value < math.inf for value in values) or not any(values):
        raise HeedfulError(
            f"--train-weights {weights} does not fit {corpora} --train corpora; give each a number, 0 or more"
        )
    return values


def _recipe_of(model: Path, name: str | None) -> Recipe:
    """The recipe a model was made with, its architecture and tokens as they are; another recipe's training if named.

    The model knows its direction.
    """
    from heedful.checkpoint import load_config

    config = load_config(model)
    own = recipe(name or config["recipe"])
    trees = config.get("trees")
    data = replace(own.data, both_directions=0)
    made = replace(own, model=_rebuilt(config["model"]), data=data, trees=trees and TreeConfig(**trees))
    return made.override({field: config["data"][field] for field in _TOKENIZER_FIELDS})


def _rebuilt(model: Mapping[str, Any]) -> Any:
    from pydantic import TypeAdapter

    from heedful.model.config import ModelConfig

    return TypeAdapter(ModelConfig).validate_python(model)


def _unchanged(start: Recipe, asked: Recipe) -> Recipe:
    """Raises `HeedfulError` where flags would change what the weights of --init-from are the weights of."""
    dropouts = {"dropout", "attention_dropout"}
    before, now = start.values(), asked.values()
    fixed = {field.name for section, field in start.fields() if section in ("model", "trees")} - dropouts | {
        *_TOKENIZER_FIELDS
    }
    if different := sorted(name for name in fixed if before[name] != now[name]):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in different)
        raise HeedfulError(
            f"{names} cannot change with --init-from: the weights and the vocabulary are kept; leave them out"
        )
    return asked
