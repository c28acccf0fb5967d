"""A tree as a sequence of symbols, and back.

Symbols are "(NP", ")NP", and one for each word: a placeholder, or its part of speech. No word stands in them, so
a parser's vocabulary is small, and its output takes the words from its input.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.tree import ROOT, Leaf, Node, Tree, events

PLACEHOLDER = "XX"
"""A word whose part of speech is not told (Vinyals et al. 2015)."""


def opens(symbol: str) -> bool:
    """Whether it is an opening bracket."""
    return symbol.startswith("(")


def closes(symbol: str) -> bool:
    """Whether it is a closing bracket."""
    return symbol.startswith(")")


class Linearisation:
    """How a parser's trees are written: in which order, and with which symbol for a word."""

    def __init__(self, config: TreeConfig) -> None:
        self.config, self._order = config, _ORDERS[config.linearisation]

    def symbols(self, tree: Tree) -> list[str]:
        """Of a cleaned tree. Its root is left out where the one bracket under it stands for the whole."""
        [top, *rest] = tree.children
        whole = top if isinstance(top, Tree) and not rest and top.label != ROOT else tree
        tags = self.config.leaves == "tags"
        return [
            (item.tag if tags else PLACEHOLDER) if isinstance(item, Leaf) else item
            for item in self._order.symbols(whole)
        ]

    def tree(self, symbols: Sequence[str], words: Sequence[str], tags: Sequence[str] | None = None) -> Tree:
        """The tree of these symbols over these words, under its root; `tags`, where given, stand for its own.

        Raises `ValueError` where the symbols are no tree, or not one of so many words.
        """
        own = [symbol for symbol in symbols if not opens(symbol) and not closes(symbol)]
        if len(own) != len(words):
            raise ValueError(f"{len(own)} leaves, but {len(words)} words")
        leaves = map(Leaf, own if tags is None else tags, words)
        levels: list[tuple[str, list[Node]]] = [("", [])]
        for before, symbol in pairwise(["", *symbols]):
            if opens(symbol):
                levels.append((symbol[1:], self._order.first_children(levels[-1][1], opens(before))))
            elif closes(symbol):
                label, children = levels.pop()
                if not levels or label != symbol[1:] or not children:
                    raise ValueError(f"{symbol} closes nothing, or what is empty")
                levels[-1][1].append(Tree(label, tuple(children)))
            else:
                levels[-1][1].append(next(leaves))
        [[_, whole], *still_open] = levels
        tree = whole[0] if len(whole) == 1 and not still_open else None
        if not isinstance(tree, Tree):
            raise ValueError("not one bracket, opened and closed, holds everything")
        return tree if tree.label == ROOT else Tree(ROOT, (tree,))


@dataclass(frozen=True)
class _Order:
    """Where the symbol of an opening bracket stands."""

    symbols: Callable[[Tree], Iterator[str | Leaf]]
    """The symbols of all brackets, with the leaves between."""
    first_children: Callable[[list[Node], bool], list[Node]]
    """What a bracket holds as it opens, taken from what stands before it; whether that ends in an opening bracket."""


def _top_down(tree: Tree) -> Iterator[str | Leaf]:
    for event, node in events(tree):
        if isinstance(node, Leaf):
            yield node
        else:
            yield f"({node.label}" if event == "open" else f"){node.label}"


def _in_order(tree: Tree) -> Iterator[str | Leaf]:
    waiting: list[str | None] = []
    """Of every bracket around this place the symbol that opens it; None once it is told."""
    for event, node in events(tree):
        if event == "open" and isinstance(node, Tree):
            waiting.append(f"({node.label}")
            continue
        if isinstance(node, Leaf):
            yield node
        else:
            waiting.pop()
            yield f"){node.label}"
        if waiting and (symbol := waiting[-1]):
            waiting[-1] = None
            yield symbol


def _last(before: list[Node], opened: bool) -> list[Node]:
    if not before or opened:
        raise ValueError("a bracket opens before its first child")
    return [before.pop()]


_ORDERS = {"top-down": _Order(_top_down, lambda *_: []), "in-order": _Order(_in_order, _last)}
