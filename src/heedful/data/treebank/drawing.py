"""Trees drawn for people: lines of text for a terminal, SVG for a notebook."""

from html import escape

from rich.cells import cell_len

from heedful.data.treebank.tree import Leaf, Node, Tree, events

_CELL, _LEVEL, _GAP, _LINE = 8, 44, 14, 16
"""Width of a character, height of a level, space between words, height of a line of text, in SVG's units."""


def draw_text(tree: Tree) -> str:
    """A line for every bracket and word, the brackets' children under each other."""
    lines: list[str] = []
    waiting: list[tuple[Node, str, str]] = [(tree, "", "")]
    """Nodes, what stands before them, and what stands before their children."""
    while waiting:
        node, before, below = waiting.pop()
        if isinstance(node, Leaf):
            lines.append(f"{before}{node.tag} {node.word}")
            continue
        lines.append(f"{before}{node.label}")
        last = len(node.children) - 1
        waiting += reversed(
            [
                (child, below + ("├─ " if place < last else "└─ "), below + ("│  " if place < last else "   "))
                for place, child in enumerate(node.children)
            ]
        )
    return "\n".join(lines)


def draw_svg(tree: Tree) -> str:
    """An image that fetches nothing: words from left to right, each under its tag, a bracket above its children."""
    shapes: list[str] = []
    levels: list[list[float]] = [[]]
    """Of every bracket that is open, where its children stand."""
    right, bottom = 0.0, 0
    for event, node in events(tree):
        if event == "open":
            levels.append([])
            continue
        top = _LINE + _LEVEL * (len(levels) - 2 + (event == "leaf"))
        if isinstance(node, Leaf):
            width = _GAP + _CELL * max(5, cell_len(node.word), cell_len(node.tag))
            x, right, bottom = right + width / 2, right + width, max(bottom, top + _LINE)
            shapes += [_text(x, top, node.tag), _text(x, top + _LINE, node.word, "bold")]
        else:
            children = levels.pop()
            x = (children[0] + children[-1]) / 2
            ends = f'y1="{top + 4}" y2="{top + _LEVEL - _LINE + 2}" stroke="currentColor" stroke-opacity="0.5"'
            shapes += [f'<line x1="{x:g}" x2="{child:g}" {ends}/>' for child in children]
            shapes.append(_text(x, top, node.label))
        levels[-1].append(x)
    size = f'width="{right:g}" height="{bottom + _LINE}"'
    style = 'font-family="monospace" font-size="13" fill="currentColor" text-anchor="middle"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} {style}>{"".join(shapes)}</svg>'


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:g}" y="{y:g}" font-weight="{weight}">{escape(text)}</text>'
