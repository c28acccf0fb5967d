"""A file of trees as a corpus like any other: the source is the words, the target the tree as symbols."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray

from heedful.data.corpus import Corpus
from heedful.data.treebank.cleaning import clean_trees
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.linearisation import Linearisation
from heedful.data.treebank.reading import SPACES
from heedful.data.treebank.substitution import Substitution
from heedful.data.treebank.tree import Tree

_BRACKETS = {"-LRB-": "(", "-RRB-": ")", "-LSB-": "[", "-RSB-": "]", "-LCB-": "{", "-RCB-": "}"}
_NAME = re.compile("|".join(_BRACKETS))


@dataclass(frozen=True)
class TreeCorpus(Corpus):
    """Trees of one treebank, cleaned and linearised as `config` says."""

    config: TreeConfig

    @classmethod
    def read(cls, path: Path | str, config: TreeConfig) -> "TreeCorpus":
        """Of one file; nothing is read yet."""
        return cls((Path(path),), "words", "trees", config)

    def trees(self) -> Iterator[Tree]:
        """Cleaned, in order. Raises `HeedfulError` with file and line for what is no tree."""
        return (tree for _, tree in clean_trees(self.paths[0], self.config))

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Words and symbols of every tree."""
        linearisation = Linearisation(self.config)
        return (pair_of(tree, linearisation) for tree in self.trees())

    def chosen(self, chosen: NDArray[np.bool_], substitution: float = 0.0, seed: int = 0) -> Iterator[tuple[str, str]]:
        """Some of the pairs; with `substitution` the trees' constituents change places, as the seed says."""
        if not substitution:
            yield from super().chosen(chosen)
            return
        key = chosen.tobytes()
        if key not in self._kept:
            trees = list(compress(self.trees(), chosen))
            self._kept[key] = trees, Substitution(trees)
        trees, material = self._kept[key]
        linearisation, random = Linearisation(self.config), Random(seed)
        for tree in trees:
            yield pair_of(material.draw(tree, substitution, random), linearisation)

    @cached_property
    def _kept(self) -> dict[bytes, tuple[list[Tree], Substitution]]:
        """Trees that change places, by which they are: to read them in every epoch would take too long."""
        return {}

    def count(self) -> int:
        """Number of trees."""
        return sum(1 for _ in self.trees())

    def digest(self) -> str:
        """SHA-256 of the file and of what is made of it."""
        return self.digest_with(f"trees\n{json.dumps(asdict(self.config), sort_keys=True)}")


def pair_of(tree: Tree, linearisation: Linearisation) -> tuple[str, str]:
    """Source and target of a cleaned tree."""
    return sentence(tree.words()), " ".join(linearisation.symbols(tree))


def sentence(words: Sequence[str]) -> str:
    """The words as text: brackets as they are, not by the names that treebanks give them, and one space between.

    A space inside of a word, a no-break space say, becomes "_", so that there are as many words as before.
    """
    return " ".join("_".join(_NAME.sub(lambda name: _BRACKETS[name[0]], word).split()) or "_" for word in words)


def words_of(text: str) -> list[str]:
    """A sentence's words, between which there are spaces: a no-break space is part of one, as in files of trees."""
    return [word for word in SPACES.split(text) if word]


def escaped(word: str) -> str:
    """A word of text as a tree may hold it: no bracket, no space, and something."""
    return SPACES.sub("_", word.replace("(", "-LRB-").replace(")", "-RRB-")) or "_"
