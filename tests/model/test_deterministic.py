"""Where a parser is, by its tokens, against the trees that they spell; and what its decoder is shown there."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.linearisation import Linearisation, closes, opens
from heedful.data.treebank.reading import trees_in
from heedful.data.treebank.tree import Leaf, Node, Tree
from heedful.model.deterministic import DeterministicAttention, ParserTokens
from tests.treebank import grow

Open = tuple[str, int]
"""A bracket's opening symbol and its first word."""


def _places(node: Node, start: int, around: tuple[Open, ...], in_order: bool) -> Iterator[tuple[int, tuple[Open, ...]]]:
    """After every symbol of the tree: words read, brackets open. From spans, with no stack and no symbols."""
    if isinstance(node, Leaf):
        yield start + 1, around
        return
    own = (*around, (f"({node.label}", start))
    if not in_order:
        yield start, own
    for number, child in enumerate(node.children):
        yield from _places(child, _start(node, number, start), around if in_order and number == 0 else own, in_order)
        if in_order and number == 0:
            yield _start(node, 1, start), own
    yield start + len(node.words()), around


def _start(tree: Tree, child: int, start: int) -> int:
    return start + sum(len(each.words()) if isinstance(each, Tree) else 1 for each in tree.children[:child])


def _attention(symbols: dict[str, int], in_order: bool, d_model: int = 7) -> DeterministicAttention:
    tokens = ParserTokens(
        word_starts=(3, 5, 6),
        leaves=[token for symbol, token in symbols.items() if not opens(symbol) and not closes(symbol)],
        opening=[token for symbol, token in symbols.items() if opens(symbol)],
        closing=[token for symbol, token in symbols.items() if closes(symbol)],
        in_order=in_order,
    )
    return DeterministicAttention(d_model, 11, 4 + len(symbols), True, tokens)


@pytest.mark.parametrize("leaves", ["tags", "placeholder"])
@pytest.mark.parametrize("order", ["top-down", "in-order"])
def test_the_state_is_where_the_tree_s_spans_say(order: Any, leaves: Any) -> None:
    linearisation = Linearisation(TreeConfig(linearisation=order, leaves=leaves))
    for _, tree in trees_in(grow(3, 20)):
        [whole] = tree.children
        assert isinstance(whole, Tree)
        written = linearisation.symbols(Tree("TOP", (whole,)))
        symbols = {symbol: 4 + number for number, symbol in enumerate(dict.fromkeys(written))}
        attention = _attention(symbols, order == "in-order")
        state = attention.advance(torch.tensor([2]), attention.start(1))  # BOS changes nothing
        assert [int(number) for number in state.shown()] == [0, 0, 0, 0]
        expected = list(_places(whole, 0, (), order == "in-order"))
        assert len(expected) == len(written)
        for symbol, (read, around) in zip(written, expected, strict=True):
            state = attention.advance(torch.tensor([symbols[symbol]]), state)
            label, first = around[-1] if around else (None, 0)
            shown = [read, first, symbols[label] if label else 0, len(around)]
            assert [int(number) for number in state.shown()] == shown


def test_what_is_shown_is_the_encoder_s_output_at_those_words() -> None:
    """Tokens 5 and 6 begin words, 7 and 8 go on; 3 is EOS. In order: leaf, (A, leaf, )A."""
    leaf, opening, closing = 4, 5, 6
    attention = _attention({"XX": leaf, "(A": opening, ")A": closing}, True, d_model=2)
    source = torch.tensor([[5, 7, 6, 8, 8, 3], [6, 3, 0, 0, 0, 0]])
    mask = source > 0
    hidden = torch.arange(1.0, 25).view(2, 6, 2)
    with torch.no_grad():
        for parameter, value in (
            (attention.next_word, 100.0),
            (attention.last_word, 1.0),
            (attention.first_word, 0.01),
        ):
            assert parameter is not None
            parameter.weight.copy_(value * torch.cat((torch.eye(2), torch.eye(2) / 2), dim=1))
        assert attention.labels is not None
        assert attention.depths is not None
        attention.labels.weight.zero_()
        attention.depths.weight.zero_()
        attention.labels.weight[opening, 1] = 1e4 / 2**0.5  # an embedding is multiplied by sqrt(d_model)
        attention.depths.weight[1, 0] = 1e5 / 2**0.5
        target = torch.tensor([[2, leaf, opening, leaf, closing], [2, leaf, opening, closing, 3]])
        shown, position = attention(target, attention.words(source, mask, hidden))
    # first token + last token / 2
    first, second, eos = (hidden[0, begin] + hidden[0, end] / 2 for begin, end in ((0, 1), (2, 4), (5, 5)))
    zero, (only, end) = torch.zeros(2), hidden[1, :2] * 1.5
    inside = torch.tensor([1e5, 1e4])
    expected = [
        [
            (first, zero, first),
            (second, first, first),
            (second, first, first),
            (eos, second, first),
            (eos, second, first),
        ],
        [(only, zero, only), (end, only, only), (end, only, only), (end, only, only), (end, only, only)],
    ]
    for row, (own, open_at) in enumerate(zip(expected, ({2, 3}, {2}), strict=True)):
        for place, (following, before, begin) in enumerate(own):
            value = 100 * following + before + 0.01 * begin + (inside if place in open_at else 0)
            torch.testing.assert_close(shown[row, place], value, rtol=1e-6, atol=0)
    assert position.tolist() == [[0, 2, 2, 5, 5], [0, 1, 1, 1, 1]]


def test_deeper_brackets_than_there_are_places_are_no_error() -> None:
    attention = _attention({"XX": 4, "(A": 5, ")A": 6}, False)
    target = torch.tensor([[6, 6] + 70 * [5] + [4] + 70 * [6] + [6]])
    words = attention.words(torch.tensor([[5, 3]]), torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 2, 7))
    assert attention(target, words).shown.isfinite().all()
