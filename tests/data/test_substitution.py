"""Constituents that change places: of like label and size, as often as asked, the same for the same seed."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heedful.data.batches import TrainingData
from heedful.data.config import DataConfig
from heedful.data.tokenizer import Tokenizer, Tokenizers
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.corpus import TreeCorpus, pair_of
from heedful.data.treebank.linearisation import Linearisation
from heedful.data.treebank.reading import trees_in
from heedful.data.treebank.substitution import Substitution
from heedful.data.treebank.tree import Leaf, Tree
from tests.treebank import grow, write_treebank

CONFIG = TreeConfig(linearisation="in-order", leaves="tags")


def trees(seed: int, size: int) -> list[Tree]:
    return [tree for _, tree in trees_in(grow(seed, size))]


def outermost(tree: Tree) -> list[Tree]:
    """The brackets that may be exchanged and stand in no other such."""
    return [
        node for child in tree.children if isinstance(child, Tree) for node in child.children if isinstance(node, Tree)
    ]


def test_the_new_constituent_has_the_old_one_s_label_and_about_its_size() -> None:
    given = trees(1, 50)
    substitution, draw = Substitution(given), random.Random(1)
    inside = {node for tree in given for node in every(tree)[2:]}
    exchanged = []
    for old in trees(2, 50):
        new = substitution.draw(old, 0.999999, draw)
        assert new.label == old.label
        assert [child.label for child in new.children if isinstance(child, Tree)] == ["S"]
        for before, after in zip(outermost(old), outermost(new), strict=True):
            assert after in inside or after == before
            assert after.label == before.label
            assert 2 / 3 <= len(after.words()) / len(before.words()) <= 3 / 2
            exchanged.append(after != before)
    assert sum(exchanged) > len(exchanged) / 2  # the toy's phrases are few, and some are exchanged for their like


def every(tree: Tree) -> list[Tree]:
    found = [tree]
    for child in tree.children:
        if isinstance(child, Tree):
            found += every(child)
    return found


def test_what_no_given_tree_has_stays() -> None:
    [alone] = (tree for _, tree in trees_in(["(TOP (S (WHNP (WP who)) (VP (VBD slept))))"]))
    assert Substitution(trees(1, 20)).draw(alone, 0.999999, random.Random(1)) == alone


def test_the_share_is_that_of_the_constituents_that_nothing_around_exchanged() -> None:
    """Marked words: every noun phrase of two words is exchanged for one of X."""
    flat = Tree("TOP", (Tree("S", tuple(Tree("NP", (Leaf("NN", "a"), Leaf("NN", "b"))) for _ in range(10))),))
    marked = Tree("TOP", (Tree("S", (Tree("NP", (Leaf("NN", "X"), Leaf("NN", "X"))),)),))
    substitution, draw = Substitution([marked]), random.Random(3)
    counts = Counter(word for _ in range(500) for word in substitution.draw(flat, 0.3, draw).words()[::2])
    assert counts["X"] / 5000 == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / 5000) ** 0.5)


def test_a_corpus_draws_pairs_by_its_seed(tmp_path: Path) -> None:
    corpus = TreeCorpus.read(write_treebank(tmp_path / "trees.mrg", 1, 40), CONFIG)
    chosen = np.arange(40) % 3 > 0

    def draw(seed: int, share: float = 0.3) -> list[tuple[str, str]]:
        return list(corpus.chosen(chosen, share, seed))

    assert draw(7) == draw(7) != draw(8)
    assert draw(7, 0.0) == [pair for pair, keep in zip(corpus.pairs(), chosen, strict=True) if keep]
    linearisation = Linearisation(CONFIG)
    for source, target in draw(7):
        tree = linearisation.tree(target.split(), source.split())
        assert pair_of(tree, linearisation) == (source, target)


def test_what_is_not_chosen_gives_nothing(tmp_path: Path) -> None:
    """Else a tree that is too long would bring in symbols that the vocabulary lacks."""
    path = tmp_path / "trees.mrg"
    path.write_text("".join(f"{tree}\n" for tree in [*grow(1, 20), *["(TOP (S (NP (UH oh) (UH my))))"] * 20]))
    corpus = TreeCorpus.read(path, CONFIG)
    assert any("UH" in target for _, target in corpus.chosen(np.ones(40, np.bool_), 0.5, 1))
    assert not any("UH" in target for _, target in corpus.chosen(np.arange(40) < 20, 0.5, 1))


def prepare(directory: Path, max_length: int, **more: Any) -> tuple[TrainingData, Tokenizers, list[tuple[str, str]]]:
    corpus = TreeCorpus.read(write_treebank(directory / "trees.mrg", 1, 60), CONFIG)
    config = DataConfig(
        vocab_size=300, vocabulary="separate", batch_tokens=512, max_length=max_length, substitution=0.3, **more
    )
    pairs = list(corpus.pairs())
    tokenizers = Tokenizers(
        Tokenizer.train((source for source, _ in pairs), config),
        Tokenizer.train_symbols((target for _, target in pairs), config),
    )
    return TrainingData.prepare([corpus], None, tokenizers, config, 5, directory / "data"), tokenizers, pairs


@pytest.mark.parametrize("subword_sampling", [0.0, 0.2])
def test_every_epoch_has_other_trees_over_their_own_words(tmp_path: Path, subword_sampling: float) -> None:
    """Where a drawn one is too long, both sides are the ordinary ones."""
    data, tokenizers, pairs = prepare(tmp_path, 40, subword_sampling=subword_sampling)
    plain = {pair for pair in pairs if len(pair[1].split()) < 40}
    linearisation = Linearisation(CONFIG)
    epochs = []
    for epoch in range(3):
        seen = []
        for indices in data.batches(epoch):
            batch = data.collate(indices, epoch)
            for source, target in zip(batch.source.tolist(), batch.target_output.tolist(), strict=True):
                words, symbols = tokenizers.source.decode(source), tokenizers.target.decode(target)
                tree = linearisation.tree(symbols.split(), words.split())  # raises where they do not fit
                assert pair_of(tree, linearisation) == (words, symbols)
                assert len(symbols.split()) < 40
                seen.append((words, symbols))
        assert len(seen) == data.pairs == len([pair for pair in pairs if len(pair[1].split()) < 40])
        assert set(seen) & plain
        assert set(seen) - plain
        epochs.append(frozenset(seen))
    assert len(set(epochs)) == 3
    again, *_ = prepare(tmp_path, 40, subword_sampling=subword_sampling)
    for indices in again.batches(1):
        assert np.array_equal(again.collate(indices, 1).source, data.collate(indices, 1).source)
