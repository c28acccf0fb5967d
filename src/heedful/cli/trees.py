"""`heedful score-trees` and `parse`."""

import argparse
import itertools
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from heedful.cli.fields import given_fields
from heedful.cli.translate import destination, keep_apart, load
from heedful.data.corpus import read_lines
from heedful.data.treebank.cleaning import TRACE, clean, rooted
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.reading import trees_in
from heedful.data.treebank.tree import Leaf, Tree, with_leaves
from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError
from heedful.evaluation.brackets import as_json, render
from heedful.evaluation.brackets import score_trees as score
from heedful.evaluation.evalb import Parameters, read_parameters

if TYPE_CHECKING:
    from heedful.decoding.parser import Parser

logger = logging.getLogger("heedful")


def score_trees(arguments: argparse.Namespace) -> int:
    """EVALB's figures of one file of trees against another."""
    path = arguments.parameters
    parameters = read_parameters(read_lines(path), path) if path else Parameters()
    gold, predicted = list(read_lines(arguments.gold)), list(read_lines(arguments.predicted, allow_empty=True))
    if _spread(gold) or len(gold) != len(predicted):
        gold = _one_a_line(gold)
    if _spread(predicted) or len(gold) != len(predicted):  # else a blank line stands for a tree: a skip
        predicted = _one_a_line(predicted)
    scores = score(gold, _with_tags_of(gold, predicted) if arguments.gold_tags else predicted, parameters)
    if scores.all.errors and not arguments.gold_tags:
        fewer = scores.all.errors - score(gold, _with_tags_of(gold, predicted), parameters).all.errors
        if fewer:
            logger.warning("%d of the errors are of tags alone, which say what is punctuation: see --gold-tags", fewer)
    print(json.dumps(as_json(scores), ensure_ascii=False, indent=2) if arguments.json else render(scores))
    return 0


def _spread(lines: Sequence[str]) -> bool:
    """Whether trees go over several lines, of which some are indented then."""
    indented = any(line[:1].isspace() and line.strip() for line in lines)
    return indented and any(line.count("(") != line.count(")") for line in lines)


def _one_a_line(lines: list[str]) -> list[str]:
    """Each tree on a line, without blank ones; where a tree was on several, an outer bracket without a label is a TOP.

    EVALB reads no other layout, and its way with a line that is no tree is to leave it out.
    """
    with suppress(ValueError):
        if _spread(lines):
            return [str(tree if tree.label else rooted(tree)) for _, tree in trees_in(lines)]
    return [line for line in lines if line.strip()]


def _with_tags_of(gold: Sequence[str], predicted: Sequence[str]) -> list[str]:
    """As many predicted trees as there were, each with its gold one's tags."""
    return [*map(_retagged, gold, predicted), *predicted[len(gold) :]]


def _retagged(gold: str, predicted: str) -> str:
    """The predicted tree with the gold one's tags, if it has as many words, traces counted or not."""
    try:
        [(_, own)], [(_, guess)] = trees_in([gold]), trees_in([predicted])
    except ValueError:
        return predicted
    tags, words = own.tags(), guess.words()
    if len(tags) != len(words):
        tags = [tag for tag in tags if tag != TRACE]
    if len(tags) != len(words):
        return predicted
    return str(with_leaves(guess, list(map(Leaf, tags, words))))


def parse(arguments: argparse.Namespace) -> int:
    """One tree out for every sentence in, on a line unless it is drawn; on a terminal each is answered at once."""
    keep_apart(arguments.output, arguments.input)
    parser = load_parser(arguments, arguments.model, *arguments.ensemble)
    options = given_fields(arguments, SearchConfig)
    parser.translator.search_with(**options)  # a wrong option is told before the first line is read
    from heedful.decoding.translator import WINDOW

    interactive = arguments.input is None and sys.stdin.isatty()
    sentences = _sentences(arguments, parser.config)
    with destination(arguments.output) as out:
        for found in parser.parse_stream(sentences, window=1 if interactive else WINDOW, **options):
            out.write(f"{found.pretty()}\n\n" if arguments.pretty else f"{found}\n")
            if interactive:
                out.flush()
    return 0


def load_parser(arguments: argparse.Namespace, *models: str) -> "Parser":
    """As `load`. Raises `HeedfulError` for a model that makes text."""
    translator = load(arguments, *models)
    from heedful.decoding.parser import Parser

    return Parser.of(translator)


def _sentences(arguments: argparse.Namespace, config: TreeConfig) -> Iterator[str | Tree]:
    """Words or trees, as the first line that is not blank says, unless the command does."""
    path, kind = arguments.input or "-", arguments.input_format
    lines = read_lines(path, allow_empty=True)
    begin = list(_up_to_text(lines))
    everything = itertools.chain(begin, lines)
    if kind == "words" or (kind == "auto" and not _begins_a_tree(begin[-1] if begin else "")):
        yield from everything
        return
    try:
        for _, tree in trees_in(everything):
            yield clean(tree, replace(config, empty_nodes="drop")) or ""
    except ValueError as error:
        name = "stdin" if path == "-" else path
        raise HeedfulError(f"{name}, {error}; if these are words, pass --input-format words") from None


def _up_to_text(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        yield line
        if line.strip():
            return


def _begins_a_tree(line: str) -> bool:
    """A bracket with a label or another bracket behind it; in text with spaces between words, one stands alone."""
    rest = line.lstrip()[1:]
    return line.lstrip()[:1] == "(" and (rest.lstrip()[:1] in ("", "(") or not rest[0].isspace())
