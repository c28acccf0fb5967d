"""How a model's vocabulary spells trees: which tokens are brackets and leaves, and what a sentence demands."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import torch
from torch import Tensor

from heedful.data.tokenizer import EOS, Tokenizer
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.linearisation import Linearisation, closes, opens
from heedful.data.treebank.tree import Tree
from heedful.decoding.tree_filter import FREE, FormTree, TreeTokens
from heedful.errors import HeedfulError
from heedful.model.deterministic import ParserTokens


class TreeSymbols:
    """A target vocabulary of symbols, read as `config` writes trees."""

    def __init__(self, config: TreeConfig, target: Tokenizer) -> None:
        self.linearisation, self._target = Linearisation(config), target
        symbols = target.words()
        opening = [symbol for symbol in symbols if opens(symbol) and f"){symbol[1:]}" in symbols]
        self._leaves = {symbol: token for symbol, token in symbols.items() if not opens(symbol) and not closes(symbol)}
        if not opening or not self._leaves:
            raise HeedfulError("the target vocabulary has no tree's symbols; train with --train-trees")
        self._tokens = TreeTokens(
            tuple(symbols[symbol] for symbol in opening),
            tuple(symbols[f"){symbol[1:]}"] for symbol in opening),
            tuple(self._leaves.values()),
            target.vocab_size,
            EOS,
        )

    def parser_tokens(self, source: Tokenizer) -> ParserTokens:
        """What a model with deterministic attention has to know of both vocabularies."""
        own = self._tokens
        in_order = self.linearisation.config.linearisation == "in-order"
        return ParserTokens((*source.word_starts(), EOS), own.leaves, own.opening, own.closing, in_order)

    def of_texts(self, texts: Sequence[str]) -> "TreeDemands":
        """A tree over each text's whitespace words."""
        return self.demands([len(text.split()) for text in texts])

    def demands(self, words: Sequence[int], tags: Sequence[Sequence[str] | None] | None = None) -> "TreeDemands":
        """Trees over so many words; where tags are given, leaves are those of them that the vocabulary has."""
        every = tags or repeat(None, len(words))
        given = self.linearisation.config.leaves == "tags"
        leaves = [[self._leaves.get(tag, FREE) for tag in row] if given and row else [] for row in every]
        return TreeDemands(self, list(words), leaves)

    def tree(self, tokens: Sequence[int], words: Sequence[str], tags: Sequence[str] | None) -> Tree:
        """What the tokens spell, EOS last, over these words; raises `ValueError` for what is no tree."""
        return self.linearisation.tree(self._target.decode(tokens).split(), words, tags)

    def filter(self, words: Sequence[int], leaves: Sequence[Sequence[int]], max_lengths: Tensor) -> FormTree:
        """That of one batch."""
        order = self.linearisation.config.linearisation
        counts = torch.tensor(words, device=max_lengths.device)
        return FormTree(self._tokens, order, counts, max_lengths, leaves if any(leaves) else ())


@dataclass(frozen=True)
class TreeDemands:
    """Of some texts; `heedful.decoding.filters.Demands`."""

    symbols: TreeSymbols
    words: Sequence[int]
    leaves: Sequence[Sequence[int]]

    def shortest(self, text: int) -> int:
        """A leaf for each word, one bracket around them, and EOS."""
        return self.words[text] + 3

    def filter(self, texts: Sequence[int], max_lengths: Tensor) -> FormTree:
        """A tree for each."""
        return self.symbols.filter(
            [self.words[text] for text in texts], [self.leaves[text] for text in texts], max_lengths
        )
