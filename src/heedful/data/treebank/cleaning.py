"""What is left of a treebank's trees for a parser to learn. The words that remain never change."""

import re
from collections.abc import Iterator
from pathlib import Path

from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.reading import ROOTS, read_trees
from heedful.data.treebank.tree import ROOT, Leaf, Node, Tree, events
from heedful.errors import HeedfulError

TRACE = "-NONE-"
_CATEGORY = re.compile(r"^([^-=|]+)[-=|].*")
"""A category and what follows it: -SBJ, =2, the second reading of PRT|ADVP. -LRB- begins with a dash and stays."""


def clean_trees(path: Path | str, config: TreeConfig) -> Iterator[tuple[int, Tree]]:
    """The trees of a file, cleaned, each with the line where it begins; one without words is left out.

    Raises `HeedfulError` naming file and line.
    """
    name = "stdin" if str(path) == "-" else path
    for line, tree in read_trees(path):
        try:
            cleaned = clean(tree, config)
        except ValueError as error:
            raise HeedfulError(f"{name}, the tree of line {line}: {error}") from None
        if cleaned:
            yield line, cleaned


def clean(tree: Tree, config: TreeConfig) -> Tree | None:
    """A tree under a root TOP, or None where no word is left.

    Raises `ValueError` for a bracket that holds nothing, where these are not to be dropped.
    """
    levels: list[list[Node]] = [[]]
    for event, node in events(rooted(tree)):
        if isinstance(node, Leaf):
            if config.traces or node.tag != TRACE:
                levels[-1].append(node)
        elif event == "open":
            if not node.children and config.empty_nodes == "error":
                raise ValueError(f"({node.label}) holds nothing; remove it, or pass --empty-nodes drop")
            levels.append([])
        elif children := levels.pop():
            label = node.label if config.function_tags else _CATEGORY.sub(r"\1", node.label)
            [only, *rest] = children
            if not config.unary_chains and not rest and isinstance(only, Tree) and only.label == label:
                levels[-1].append(only)
            else:
                levels[-1].append(Tree(label, tuple(children)))
    return next((node for node in levels[0] if isinstance(node, Tree)), None)


def rooted(tree: Tree) -> Tree:
    """The tree with its outer bracket, or a new one, as its root TOP."""
    return Tree(ROOT, tree.children if tree.label in ROOTS else (tree,))
