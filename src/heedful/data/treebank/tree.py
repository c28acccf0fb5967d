"""Constituency trees, immutable. Nothing here recurses, so no depth is too deep."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

ROOT = "TOP"
"""Label of the root that every cleaned tree has, and that no score counts."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """A word and its part of speech."""

    tag: str
    word: str


@dataclass(frozen=True, slots=True)
class Tree:
    """A bracket: a label over trees and leaves."""

    label: str
    children: "tuple[Node, ...]"

    def leaves(self) -> list[Leaf]:
        """From left to right."""
        return [node for _, node in events(self) if isinstance(node, Leaf)]

    def words(self) -> list[str]:
        """From left to right."""
        return [leaf.word for leaf in self.leaves()]

    def tags(self) -> list[str]:
        """Parts of speech from left to right."""
        return [leaf.tag for leaf in self.leaves()]

    def __str__(self) -> str:
        """One line, as treebanks have it: (TOP (S (NP (PRP It)) (VP (VBZ works))))."""
        parts: list[str] = []
        for event, node in events(self):
            if isinstance(node, Leaf):
                parts.append(f" ({node.tag} {node.word})")
            else:
                parts.append(f" ({node.label}" if event == "open" else ")")
        return "".join(parts)[1:]


Node = Tree | Leaf
Event = Literal["open", "leaf", "close"]


def events(tree: Tree) -> Iterator[tuple[Event, Node]]:
    """Every bracket as it opens and as it closes, and the leaves between, from left to right."""
    waiting: list[tuple[Event, Node]] = [("open", tree)]
    while waiting:
        event, node = waiting.pop()
        yield event, node
        if event == "open" and isinstance(node, Tree):
            waiting.append(("close", node))
            waiting += [("leaf" if isinstance(child, Leaf) else "open", child) for child in reversed(node.children)]


def with_leaves(tree: Tree, leaves: Sequence[Leaf]) -> Tree:
    """The same brackets over other leaves, as many of them."""
    given = iter(leaves)
    levels: list[list[Node]] = [[]]
    for event, node in events(tree):
        if isinstance(node, Leaf):
            levels[-1].append(next(given))
        elif event == "open":
            levels.append([])
        else:
            children = tuple(levels.pop())
            levels[-1].append(Tree(node.label, children))
    [whole] = levels[0]
    assert isinstance(whole, Tree)  # a tree went in
    return whole
