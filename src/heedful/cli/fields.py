"""Flags made from the fields of configurations: one `--kebab-case VALUE` each, its docstring the help."""

import argparse
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

from heedful.data.config import DataConfig
from heedful.data.treebank.config import TreeConfig
from heedful.decoding.config import SearchConfig
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.training.config import TrainingConfig

_GROUPS: dict[str, tuple[type[Any], ...]] = {
    "model": (TransformerConfig, RecurrentConfig),
    "data": (DataConfig,),
    "trees": (TreeConfig,),
    "training": (TrainingConfig,),
    "decoding": (SearchConfig,),
}


def add_recipe_fields(parser: argparse.ArgumentParser) -> None:
    """Every field of every recipe. Values stay text: the recipe checks them."""
    for title, kinds in _GROUPS.items():
        group = parser.add_argument_group(f"{title} (defaults: the recipe's)")
        for name, help_text in _fields(kinds).items():
            group.add_argument(flag(name), metavar="VALUE", default=None, help=help_text)


def add_search_fields(parser: argparse.ArgumentParser) -> None:
    """The fields of the search alone; their defaults are the model's own."""
    group = parser.add_argument_group("search (defaults: the model's)")
    for name, help_text in _fields((SearchConfig,)).items():
        group.add_argument(flag(name), metavar="VALUE", default=None, help=help_text)


def given_fields(arguments: argparse.Namespace, *kinds: type[Any]) -> dict[str, Any]:
    """The fields of these configurations (of all, if none is named) that the command line gives."""
    names = _fields(kinds or tuple(kind for group in _GROUPS.values() for kind in group))
    return {name: value for name in names if (value := getattr(arguments, name)) is not None}


def flag(name: str) -> str:
    """d_model → --d-model."""
    return "--" + name.replace("_", "-")


def _fields(kinds: tuple[type[Any], ...]) -> dict[str, str]:
    """Names and help of all fields; one that two architectures have stands once."""
    found: dict[str, str] = {}
    for kind in kinds:
        for field in fields(kind):
            info = kind.__pydantic_fields__[field.name]
            choices = _choices(info.annotation)
            help_text = f"{info.description} {f'[{choices}]' if choices else ''}".strip().replace("%", "%%")
            if field.name != "architecture" and found.setdefault(field.name, help_text) != help_text:
                found[field.name] = f"{found[field.name]} RNN: {help_text}"
    return found


def _choices(annotation: Any) -> str:
    """The values of a field that knows only a few."""
    if get_origin(annotation) is Literal:
        return "|".join(str(value) for value in get_args(annotation))
    return "true|false" if annotation is bool else ""
