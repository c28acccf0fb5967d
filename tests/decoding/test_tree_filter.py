"""The filter allows exactly the trees: all of them, and nothing else, whatever the model would rather say."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.linearisation import Linearisation
from heedful.decoding.choosers import BeamSearch, Sampling, draw_uniforms
from heedful.decoding.penalty import PENALTIES
from heedful.decoding.search import search
from heedful.decoding.tree_filter import FREE, MOST_OPENED, FormTree, TreeTokens

from .conftest import History

SYMBOLS = ["<pad>", "<eos>", "(A", ")A", "NN", "(B", ")B", "XX", "<byte>"]
BOS, EOS, VOCAB = 0, 1, len(SYMBOLS)
TOKENS = TreeTokens(opening=(2, 5), closing=(3, 6), leaves=(4, 7), vocab_size=VOCAB, eos=EOS)
ORDERS: Any = ["top-down", "in-order"]


def names(tokens: Any) -> list[str]:
    return [SYMBOLS[token] for token in tokens]


def is_tree(order: Any, symbols: list[str], words: int) -> bool:
    try:
        Linearisation(TreeConfig(linearisation=order)).tree(symbols, ["w"] * words)
    except ValueError:
        return False
    return True


def made_by(filter_: FormTree, sentence: int, given: Sequence[int] = ()) -> set[tuple[str, ...]]:
    """Every sequence that the filter lets through, by trying all of them; only a given leaf changes its value."""
    leaves = list(TOKENS.leaves)
    found, waiting = set(), [()]
    while waiting:
        begun: tuple[int, ...] = waiting.pop()
        tokens = torch.tensor([begun], dtype=torch.int64).view(1, -1)
        before = torch.linspace(-3, -1, VOCAB).unsqueeze(0)
        [after] = filter_(before.clone(), tokens, torch.tensor([sentence]))
        allowed = (after > -torch.inf).nonzero().flatten().tolist()
        assert allowed, f"a dead end: {names(begun)}"
        expected, read = before[0].clone(), sum(token in leaves for token in begun)
        if read < len(given) and given[read] != FREE:
            expected[given[read]] = before[:, leaves].logsumexp(1)
        assert torch.equal(after[allowed], expected[allowed])
        for token in allowed:
            if token == EOS:
                found.add(tuple(names(begun)))
            else:
                waiting.append((*begun, token))
    return found


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("words", "most"), [(1, 3), (1, 7), (2, 6), (2, 7), (3, 5), (3, 6)])
def test_all_trees_and_nothing_else(order: Any, words: int, most: int) -> None:
    """Up to `most` symbols, EOS not counted, with one kind of leaf."""
    one_leaf = TreeTokens((2, 5), (3, 6), (7,), VOCAB, EOS)
    other = FormTree(one_leaf, order, torch.tensor([9, words]), torch.tensor([12, most + 1]))
    symbols = ["(A", ")A", "(B", ")B", "XX"]
    trees = {
        sequence
        for length in range(1, most + 1)
        for sequence in product(symbols, repeat=length)
        if sequence.count("XX") == words and is_tree(order, list(sequence), words)
    }
    assert made_by(other, 1) == trees


@pytest.mark.parametrize("order", ORDERS)
def test_the_tags_of_words_may_be_given(order: Any) -> None:
    tags = [4, FREE], [7, 7, 4]
    given = FormTree(TOKENS, order, torch.tensor([2, 3]), torch.tensor([5, 6]), tags)
    first, second = made_by(given, 0, tags[0]), made_by(given, 1, tags[1])
    leaves = [{tuple(s for s in symbols if s in ("NN", "XX")) for symbols in each} for each in (first, second)]
    assert leaves == [{("NN", "NN"), ("NN", "XX")}, {("XX", "XX", "NN")}]


def test_a_given_tag_is_as_probable_as_all_tags_together() -> None:
    """P(tree | tags): the model's P(a word comes next), whatever it holds of that tag; brackets stay as they are."""
    before = torch.tensor([[0.01, 0.01, 0.2, 0.1, 0.03, 0.2, 0.05, 0.4, 0.0]]).log()
    within = torch.tensor([[7, 2]])  # XX (A
    given = FormTree(TOKENS, "in-order", torch.tensor([2]), torch.tensor([9]), [[7, 4]])
    [after] = given(before.clone(), within, torch.tensor([0])).exp()
    torch.testing.assert_close(after, torch.tensor([0, 0, 0, 0.1, 0.43, 0, 0, 0, 0]))
    free = FormTree(TOKENS, "in-order", torch.tensor([2]), torch.tensor([9]), [[7, FREE]])
    [after] = free(before.clone(), within, torch.tensor([0])).exp()
    torch.testing.assert_close(after, torch.tensor([0, 0, 0, 0.1, 0.03, 0, 0, 0.4, 0]))


class Wish:
    """Steps of a model that would rather do anything else: random log-probabilities with strong opinions."""

    def __init__(self, seed: int, opinion: float) -> None:
        self.generator, self.opinion = torch.Generator().manual_seed(seed), opinion

    def __call__(self, tokens: Tensor, state: History) -> tuple[Tensor, History]:
        logits = 4 * torch.randn(len(tokens), VOCAB, generator=self.generator)
        logits[:, [2, 5]] += self.opinion
        return logits.log_softmax(-1), state


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("opinion", [-9.0, 0.0, 9.0])
@pytest.mark.parametrize("width", [1, 4])
def test_every_hypothesis_of_a_search_is_a_tree(order: Any, opinion: float, width: int) -> None:
    words = torch.tensor([1, 7, 2, 13, 1, 5])
    extra = torch.tensor([3, 3, 17, 60, 9, 4])
    for chooser in (BeamSearch(width), Sampling(draw_uniforms(1, range(6), width, 73))):
        found = search(
            Wish(3, opinion),
            History.start(6, width),
            bos=BOS,
            eos=EOS,
            max_lengths=words + extra,
            chooser=chooser,
            penalty=PENALTIES["paper"](0.6),
            filters=[FormTree(TOKENS, order, words, words + extra)],
            n_best=width,
        )
        for count, most, hypotheses in zip(words.tolist(), (words + extra).tolist(), found, strict=True):
            for each in hypotheses:
                assert each.finished
                assert each.tokens[-1] == EOS
                assert len(each.tokens) <= most
                assert is_tree(order, names(each.tokens[:-1]), count)


@pytest.mark.parametrize("order", ORDERS)
def test_brackets_in_a_row_are_bounded(order: Any) -> None:
    [[best]] = search(
        Wish(1, 50.0),
        History.start(1, 1),
        bos=BOS,
        eos=EOS,
        max_lengths=torch.tensor([500]),
        chooser=BeamSearch(1),
        penalty=PENALTIES["none"](1),
        filters=[FormTree(TOKENS, order, torch.tensor([3]), torch.tensor([500]))],
    )
    runs = "".join("(" if symbol[0] == "(" else "w" if symbol in ("NN", "XX") else "" for symbol in names(best.tokens))
    # in the order in which brackets open late, the last leaf's parents may need one more
    assert max(map(len, runs.split("w"))) <= MOST_OPENED + (order == "in-order")


def test_what_cannot_be_a_tree_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one word"):
        FormTree(TOKENS, "top-down", torch.tensor([0]), torch.tensor([9]))
    with pytest.raises(ValueError, match=r"words \+ 3"):
        FormTree(TOKENS, "in-order", torch.tensor([4]), torch.tensor([6]))
