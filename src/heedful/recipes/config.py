"""A recipe: everything that can be said about a model and its training, in one object. Imports no torch."""

import difflib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter, ValidationError

from heedful.data.config import DataConfig
from heedful.data.treebank.config import TreeConfig
from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError
from heedful.model.config import ModelConfig, RecurrentConfig, TransformerConfig
from heedful.training.config import TrainingConfig

logger = logging.getLogger("heedful")

FEW_TREES = 6000
"""In between: measured were 3,000 trees, which want these values, and 18,000, which do not."""
SECTIONS = ("model", "data", "trees", "training", "decoding")


@dataclass(frozen=True)
class Recipe:
    """A named configuration. Field names are unique across the sections, so flags and YAML are flat."""

    name: str
    summary: str
    model: ModelConfig
    data: DataConfig
    training: TrainingConfig
    decoding: SearchConfig = field(default_factory=SearchConfig)
    trees: TreeConfig | None = None
    """None where the target is text: then this is no parser."""
    few: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What fewer than `FEW_TREES` trees want instead, unless something else is asked for."""

    def fields(self) -> Iterator[tuple[str, "Field[Any]"]]:
        """Every field that can be overridden, with the section it stands in."""
        for section in self._sections():
            for each in fields(getattr(self, section)):
                if each.name != "architecture":
                    yield section, each

    def values(self) -> dict[str, Any]:
        """Flat: every field's value by its name."""
        return {each.name: getattr(getattr(self, section), each.name) for section, each in self.fields()}

    def sections(self) -> dict[str, dict[str, Any]]:
        """As it stands in config.json."""
        return {section: asdict(getattr(self, section)) for section in self._sections()}

    def completed(self, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """Sections of an older config.json; fields younger than it have their defaults."""
        defaults: dict[str, dict[str, Any]] = {}
        for section, each in self.fields():
            defaults.setdefault(section, {})[each.name] = each.default
        return {name: defaults.get(name, {}) | dict(values) for name, values in sections.items()}

    def override(self, values: Mapping[str, Any]) -> "Recipe":
        """With these fields changed; values may be text, as flags are.

        Raises `HeedfulError` for an unknown field, naming the nearest, and for a value that does not fit.
        """
        sections = {each.name: section for section, each in self.fields()}
        changed: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if name not in sections:
                raise HeedfulError(self._unknown(name))
            changed.setdefault(sections[name], {})[name] = value
        configs = {section: _changed(getattr(self, section), new) for section, new in changed.items()}
        recipe = replace(self, **configs)
        if recipe.data.vocabulary == "separate" and recipe.model.share_embeddings == "all":
            error = "share-embeddings all needs vocabulary joint; give target or none"
            notice = "separate vocabularies: the source's embeddings are not shared with the target's"
            recipe = recipe._giving_up("model", "share_embeddings", "target", values, error, notice)
        if recipe.data.vocabulary == "separate" and recipe.data.both_directions:
            error = "both-directions needs vocabulary joint; give 0"
            notice = "separate vocabularies: pairs are trained on in their own direction only"
            recipe = recipe._giving_up("data", "both_directions", 0, values, error, notice)
        if recipe.trees and recipe.data.vocabulary == "joint":
            raise HeedfulError("vocabulary joint cannot be: a parser's target is symbols; leave it separate")
        if recipe.trees is None and getattr(recipe.model, "deterministic_attention", "none") != "none":
            raise HeedfulError(
                "deterministic-attention is for parsers: take a recipe that makes trees, parse-small say"
            )
        if recipe.trees is None and recipe.data.substitution:
            raise HeedfulError("substitution is of constituents: take a recipe that makes trees, parse-small say")
        if recipe.training.optimizer == "adam" and recipe.training.weight_decay:
            error = "weight-decay needs optimizer adamw or muon: pass --optimizer adamw, or give 0"
            notice = "optimizer adam has no weight decay; adamw has"
            recipe = recipe._giving_up("training", "weight_decay", 0.0, values, error, notice)
        if recipe.training.average_last > recipe.training.keep_last:
            raise HeedfulError(
                f"average_last {recipe.training.average_last} needs as many checkpoints: raise --keep-last "
                f"({recipe.training.keep_last}) or lower --average-last"
            )
        return recipe

    def _giving_up(
        self, section: str, name: str, value: Any, asked: Mapping[str, Any], error: str, notice: str
    ) -> "Recipe":
        """With another value of a field whose own does not go with the rest; an error where that was asked for."""
        if name in asked:
            raise HeedfulError(error)
        logger.warning(notice)
        return replace(self, **{section: replace(getattr(self, section), **{name: value})})

    def _sections(self) -> list[str]:
        return [section for section in SECTIONS if getattr(self, section) is not None]

    def _unknown(self, name: str) -> str:
        flag = name.replace("_", "-")
        listing = f"`heedful recipes {self.name}` lists its fields"
        if name in [each.name for each in fields(TreeConfig)]:
            return f"recipe {self.name} makes text of text and has no field {flag}; take a recipe that makes trees"
        if any(name == each.name for kind in (TransformerConfig, RecurrentConfig) for each in fields(kind)):
            return f"recipe {self.name} is a {self.model.architecture} and has no field {flag}; {listing}"
        near = difflib.get_close_matches(name, [each.name for _, each in self.fields()], 1, 0.0)[0]
        return f"unknown field {flag}; the nearest is {near.replace('_', '-')}; {listing}"


def in_words(values: Mapping[str, Any]) -> str:
    """Fields as flags are given."""
    return ", ".join(f"{name.replace('_', '-')} {value}" for name, value in values.items())


def read_yaml(path: Path) -> dict[str, Any]:
    """The fields of a YAML file, kebab-case or snake_case. Raises `HeedfulError` where it is no flat mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise HeedfulError(f"{path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # of a date that is none, say
        raise HeedfulError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content or {}, dict):
        raise HeedfulError(f"{path} must hold `field: value` lines")
    return {str(name).replace("-", "_"): value for name, value in (content or {}).items()}


def _changed(config: Any, values: Mapping[str, Any]) -> Any:
    """A configuration with new values, checked. Text "none" unsets a field that may be unset."""
    kind = type(config)
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    current = asdict(config) | dict(values)
    try:
        return adapter.validate_python(current)
    except ValidationError as error:
        optional = {item["loc"][0] for item in error.errors() if current[str(item["loc"][0])] == "none"}
        try:
            return adapter.validate_python(current | {str(name): None for name in optional})
        except ValidationError:
            item = error.errors()[0]
            name = str(item["loc"][0])
            raise HeedfulError(
                f"{name.replace('_', '-')} cannot be {current[name]!r}: {item['msg'][0].lower()}{item['msg'][1:]}"
            ) from error
