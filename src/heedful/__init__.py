"""Attention-based sequence-to-sequence models that people can train, see into and ship."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heedful.errors import HeedfulError

if TYPE_CHECKING:
    from heedful.decoding.parser import Parser
    from heedful.decoding.translator import Translator
    from heedful.recipes.job import Paths
    from heedful.training.trainer import Outcome

__version__ = "0.1.0"
__all__ = ["HeedfulError", "__version__", "load", "load_parser", "train"]


def train(
    *,
    train: "Paths | Sequence[Paths] | None" = None,
    valid: "Paths | None" = None,
    output: str | Path,
    recipe: str | None = None,
    config: str | Path | None = None,
    init_from: str | Path | None = None,
    **fields: Any,
) -> "Outcome":
    """Trains a model into the directory `output`, or goes on where the same call stopped before.

    A corpus is the paths of two line-aligned files, or of one TSV or JSON-lines file; several corpora are a list.
    `fields` are the recipe's, and train_weights, source_lang, target_lang; for a parser train_trees and valid_trees,
    files of bracketed trees, which take the place of `train` and `valid`. Raises `HeedfulError` for bad input.
    """
    from heedful.recipes.job import make_job

    named = {"recipe": recipe, "train": train, "valid": valid, "output": output, "init_from": init_from}
    job = make_job(config, named | fields)
    from heedful.recipes.run import run

    return run(job)


def load(model: str | Path, *others: str | Path, device: str = "auto", precision: str = "float32") -> "Translator":
    """A translator from a directory that `train` or `average` wrote: the mean of its last checkpoints, where
    its recipe makes one, or its checkpoint of the best validation BLEU.

    With several directories, an ensemble. `precision` is that of products, "float32", "bfloat16" or "int8", unless
    a call of `translate` names another. Raises `HeedfulError` for a missing or damaged file.
    """
    from heedful.decoding.translator import Translator
    from heedful.inspection.page import draw

    return Translator.load(model, *others, device=device, draw=draw, precision=precision)


def load_parser(model: str | Path, *others: str | Path, device: str = "auto") -> "Parser":
    """A parser from a directory that `train` wrote with `train_trees`; several are an ensemble.

    Raises `HeedfulError` for a missing or damaged file, and for a model that makes text.
    """
    from heedful.decoding.parser import Parser

    return Parser.of(load(model, *others, device=device))
