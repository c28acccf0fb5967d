"""Files of bracketed trees: one on a line or spread over several, with an outer root or without."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from heedful.data.corpus import read_lines
from heedful.data.treebank.tree import ROOT, Leaf, Node, Tree
from heedful.errors import HeedfulError

_TOKEN = re.compile(r"[()]|[^\s()]+", re.ASCII)
"""Brackets, and what stands between them. Only ASCII spaces separate: a word may hold a no-break space."""
ROOTS = ("", ROOT, "ROOT", "S1", "VROOT")
"""Labels of outer brackets in treebanks and in parsers' output."""
SPACES = re.compile(r"\s+", re.ASCII)
"""What separates."""


@dataclass
class _Bracket:
    """One that is still open."""

    line: int
    label: str | None = None
    """None until something follows the bracket."""
    word: str | None = None
    children: list[Node] = field(default_factory=list)


def read_trees(path: Path | str) -> Iterator[tuple[int, Tree]]:
    """The trees of a file, of a .gz file or of stdin ("-"), each with the 1-based line where it begins, as they are.

    A bracket that holds nothing has no children here; an outer bracket without a label has the label "".
    Raises `HeedfulError` naming file and line for what is no tree, and where there is none.
    """
    name, empty = "stdin" if str(path) == "-" else str(path), True
    try:
        for line, tree in trees_in(read_lines(path)):
            empty = False
            yield line, tree
    except ValueError as error:
        raise HeedfulError(f"{name}, {error}") from None
    if empty:
        raise HeedfulError(f"{name} has no tree; one looks like (TOP (S (NP (PRP It)) (VP (VBZ works))))")


def trees_in(lines: Iterable[str]) -> Iterator[tuple[int, Tree]]:
    """As `read_trees`, from lines. Raises `ValueError` that names the line, what is wrong there, and the remedy."""
    stack: list[_Bracket] = []
    for number, line in enumerate(lines, start=1):
        for token in _TOKEN.findall(line):
            try:
                if token == "(":
                    _open(stack, number)
                elif token == ")":
                    begun = stack[0].line if stack else number
                    if tree := _close(stack):
                        yield begun, tree
                else:
                    _text(stack, token)
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
    if stack:
        raise ValueError(f"line {stack[0].line}: the tree that begins here is never closed; add its closing brackets")


def _open(stack: list[_Bracket], line: int) -> None:
    if stack:
        above = stack[-1]
        if above.word is not None:
            raise ValueError(f"a bracket follows the word {above.word!r}; a word stands alone with its tag")
        if above.label is None:
            if len(stack) > 1:
                raise ValueError(f"a bracket without a label inside {_begun(stack)}; name it, or close that tree")
            above.label = ""
    stack.append(_Bracket(line))


def _text(stack: list[_Bracket], text: str) -> None:
    if not stack:
        raise ValueError(f"{text!r} stands outside of any bracket; only trees may stand here")
    bracket = stack[-1]
    if bracket.label is None:
        if text.split() != [text]:
            raise ValueError(f"a space in the label {text!r}; take it out, labels are one symbol of a target each")
        # some programs write a root right within another; on a line further down it begins another tree
        if text in ROOTS and bracket.line > stack[0].line and (len(stack) > 2 or stack[-2].children):
            raise ValueError(f"a root, {text}, inside {_begun(stack)}; that one lacks closing brackets")
        bracket.label = text
    elif bracket.word is not None or bracket.children:
        raise ValueError(f"{text!r} is one word too many in its bracket; a word stands alone with its tag")
    else:
        bracket.word = text


def _begun(stack: list[_Bracket]) -> str:
    return f"the tree that begins in line {stack[0].line}"


def _close(stack: list[_Bracket]) -> Tree | None:
    """The tree, where this closes its outermost bracket."""
    if not stack:
        raise ValueError("a closing bracket that nothing opened; remove it")
    bracket = stack.pop()
    if bracket.label is None:
        raise ValueError("a bracket that holds nothing; remove it")
    node: Node = Tree(bracket.label, tuple(bracket.children))
    if bracket.word is not None:
        node = Leaf(bracket.label, bracket.word)
    if stack:
        stack[-1].children.append(node)
        return None
    # a treebank's sentence may be one word under an outer bracket, and then the bracket is there
    return node if isinstance(node, Tree) else Tree("", (node,))
