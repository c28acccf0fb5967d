"""Words in, trees out: a translator whose every output is a tree, over exactly the words that it was given."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Self

from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.corpus import escaped, sentence, words_of
from heedful.data.treebank.drawing import draw_svg, draw_text
from heedful.data.treebank.tree import Tree
from heedful.decoding.translation import Translation
from heedful.decoding.translator import WINDOW, Translator
from heedful.decoding.tree_symbols import TreeSymbols
from heedful.errors import HeedfulError


@dataclass(frozen=True)
class Parse:
    """A sentence's trees; a blank one has none."""

    trees: list[Tree]
    """Best first, as many as were asked for."""
    translation: Translation
    """Symbols, scores and attention, as of any translation."""

    @property
    def tree(self) -> Tree | None:
        """The best one."""
        return self.trees[0] if self.trees else None

    @property
    def score(self) -> float:
        """Of the best: its natural-log probability divided by the length penalty."""
        return self.translation.score

    def __str__(self) -> str:
        """The best one on a line."""
        return str(self.tree or "")

    def pretty(self) -> str:
        """The best one drawn for a terminal."""
        return draw_text(self.tree) if self.tree else ""

    def _repr_svg_(self) -> str | None:
        return draw_svg(self.tree) if self.tree else None


@dataclass(frozen=True)
class _Asked:
    words: Sequence[str]
    """As the tree shall hold them."""
    tags: Sequence[str] | None


class Parser:
    """Models that parse together, as `translator` has them."""

    def __init__(self, translator: Translator, config: TreeConfig) -> None:
        """`config` is how the models were taught to write trees."""
        self.translator, self.config = translator, config
        self._symbols = TreeSymbols(config, translator.tokenizers.target)

    @classmethod
    def of(cls, translator: Translator) -> Self:
        """With a loaded model's own way of writing. Raises `HeedfulError` for a model that makes text."""
        [first, *_] = translator.loaded
        if not (trees := first.config.get("trees")):
            raise HeedfulError(f"{first.directory} makes text, not trees; name a model trained with --train-trees")
        return cls(translator, TreeConfig(**trees))

    def parse(self, sentences: Sequence[str | Sequence[str] | Tree] | str | Tree, **options: Any) -> list[Parse]:
        """A parse of each sentence, in order; a single text or tree counts as one of a list.

        A sentence is text with spaces between its words, the words, or a tree, of which words and tags are taken: a
        parser that predicts tags then finds the best tree with these. Options as of `Translator.translate`.
        """
        every = [sentences] if isinstance(sentences, str | Tree) else sentences
        asked = [_asked(each) for each in every]
        demands = self._symbols.demands([len(each.words) for each in asked], [each.tags for each in asked])
        texts = [sentence(each.words) for each in asked]
        translations = self.translator.translate(texts, demands=demands, **options)
        return [self._parse(*pair) for pair in zip(asked, translations, strict=True)]

    def parse_stream(
        self, sentences: Iterable[str | Sequence[str] | Tree], *, window: int = WINDOW, **options: Any
    ) -> Iterator[Parse]:
        """The same one by one, reading at most `window` sentences ahead."""
        waiting = iter(sentences)
        while part := list(islice(waiting, window)):
            yield from self.parse(part, **options)

    def _parse(self, asked: _Asked, translation: Translation) -> Parse:
        found = translation.hypotheses if asked.words else []
        return Parse([self._symbols.tree(each.token_ids, asked.words, asked.tags) for each in found], translation)


def _asked(each: str | Sequence[str] | Tree) -> _Asked:
    if isinstance(each, Tree):
        return _Asked(each.words(), each.tags())
    return _Asked([escaped(word) for word in (words_of(each) if isinstance(each, str) else each)], None)
