"""A treebank of a toy English, grown from a seed."""

import random
from pathlib import Path

_NOUNS, _VERBS, _PLACES = ("dog", "cat", "mouse"), ("sees", "likes"), ("near", "with")


def grow(seed: int, size: int) -> list[str]:
    """Trees, one a line, with attachments of any depth and a tag that words alone do not tell."""
    draw = random.Random(seed)

    def phrase(depth: int) -> str:
        simple = f"(NP (DT the) (NN {draw.choice(_NOUNS)}))"
        if depth > 2 or draw.random() < 0.5:
            return simple
        return f"(NP {simple} (PP (IN {draw.choice(_PLACES)}) {phrase(depth + 1)}))"

    def tree() -> str:
        verb = f"(VP (VBZ {draw.choice(_VERBS)}) {phrase(0)})"
        end = draw.choice(("(. .)", "(-RRB- -RRB-)", "(NN .)"))
        return f"(TOP (S {phrase(0)} {verb} {end}))"

    return [tree() for _ in range(size)]


def write_treebank(path: Path, seed: int, size: int) -> str:
    """The path, as a command takes it."""
    path.write_text("".join(f"{tree}\n" for tree in grow(seed, size)))
    return str(path)
