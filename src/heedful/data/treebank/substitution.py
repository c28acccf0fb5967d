"""New trees of old ones: constituents exchanged for others of the same label (Shi, Livescu and Gimpel 2021, Sub²).

Where a noun phrase stands, another one mostly can; what it means does not matter to a parser. So a few thousand trees
are as good as never seen twice.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from random import Random

from heedful.data.treebank.tree import Leaf, Node, Tree, events

VERSION = 1
"""Raised whenever equal arguments draw other trees."""
_KEPT = 2
"""Levels that stay as they are: the root, and what says which kind of a sentence it is."""


class Substitution:
    """Exchanges constituents of any tree for those of given ones."""

    def __init__(self, trees: Iterable[Tree]) -> None:
        by_label: dict[str, list[tuple[int, Tree]]] = defaultdict(list)
        for tree in trees:
            for depth, words, node in _constituents(tree):
                if depth >= _KEPT:
                    by_label[node.label].append((words, node))
        for found in by_label.values():
            found.sort(key=lambda each: each[0])
        self._sizes = {label: [words for words, _ in found] for label, found in by_label.items()}
        self._nodes = {label: [node for _, node in found] for label, found in by_label.items()}

    def draw(self, tree: Tree, share: float, random: Random) -> Tree:
        """Each constituent is exchanged with this probability, unless one around it was.

        The new one has from two thirds of the words to half as many again.
        """
        levels: list[list[Node]] = [[]]
        exchanged: Node | None = None
        for event, node in events(tree):
            if exchanged is not None:
                exchanged = None if event == "close" and node is exchanged else exchanged
            elif isinstance(node, Leaf):
                levels[-1].append(node)
            elif event == "close":
                children = tuple(levels.pop())
                levels[-1].append(Tree(node.label, children))
            elif len(levels) > _KEPT and random.random() < share:
                levels[-1].append(self._alike(node, random))
                exchanged = node
            else:
                levels.append([])
        [whole] = levels[0]
        assert isinstance(whole, Tree)  # a tree went in
        return whole

    def _alike(self, node: Tree, random: Random) -> Tree:
        words = len(node.leaves())
        sizes = self._sizes.get(node.label, [])
        first, end = bisect_left(sizes, -(-2 * words // 3)), bisect_right(sizes, 3 * words // 2)
        # random() alone is the same in every version of Python
        return self._nodes[node.label][first + int(random.random() * (end - first))] if first < end else node


def _constituents(tree: Tree) -> Iterator[tuple[int, int, Tree]]:
    """Depth, words and bracket, of every bracket; the root has depth 0."""
    read, begins = 0, []
    for event, node in events(tree):
        if isinstance(node, Leaf):
            read += 1
        elif event == "open":
            begins.append(read)
        else:
            begin = begins.pop()
            yield len(begins), read - begin, node
