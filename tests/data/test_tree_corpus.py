"""Trees as a corpus: words and symbols, vocabularies of both, drawings."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from heedful.data.config import DataConfig
from heedful.data.tokenizer import Tokenizer
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.corpus import TreeCorpus, escaped, sentence
from heedful.data.treebank.drawing import draw_svg, draw_text
from heedful.data.treebank.reading import trees_in
from heedful.data.treebank.tree import Tree
from heedful.errors import HeedfulError
from tests.treebank import grow, write_treebank

TEXT = "(TOP (S (NP (NNP Bmp2<) (-LRB- -LRB-)) (VP (VBZ is) (RB n't))))"


def tree(text: str) -> Tree:
    [(_, found)] = trees_in([text])
    return found


def test_pairs_are_words_and_symbols(tmp_path: Path) -> None:
    path = tmp_path / "trees.mrg"
    path.write_text(f"{TEXT}\n(X (-NONE- *))\n(NN a)\n")
    corpus = TreeCorpus.read(path, TreeConfig(leaves="tags"))
    assert list(corpus.pairs()) == [
        ("Bmp2< ( is n't", "(S (NP NNP -LRB- )NP (VP VBZ RB )VP )S"),
        ("a", "(TOP NN )TOP"),
    ]
    assert corpus.count() == 2
    assert [str(each) for each in corpus.trees()] == [TEXT, "(TOP (NN a))"]


def test_a_digest_is_of_the_trees_and_of_what_is_made_of_them(tmp_path: Path) -> None:
    path = Path(write_treebank(tmp_path / "trees.mrg", 1, 5))
    digests = {TreeCorpus.read(path, TreeConfig(leaves=leaves)).digest() for leaves in ("tags", "placeholder")}
    write_treebank(path, 2, 5)
    digests.add(TreeCorpus.read(path, TreeConfig(leaves="tags")).digest())
    assert len(digests) == 3


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    corpus = TreeCorpus.read(tmp_path / "no.mrg", TreeConfig())
    for ask in (lambda: list(corpus.pairs()), corpus.digest):
        with pytest.raises(HeedfulError, match=r"no\.mrg"):
            ask()


def test_a_sentence_has_as_many_words_as_its_tree() -> None:
    words = ["-LRB-a-RRB-", "10\u00a0000", "\u3000", "-LCB-", "b"]
    assert sentence(words) == "(a) 10_000 _ { b"
    assert escaped("(a)[b]") == "-LRB-a-RRB-[b]"
    assert [escaped(word) for word in ("New York", "", "10\u00a0000")] == ["New_York", "_", "10\u00a0000"]


@pytest.mark.parametrize("vocab_size", [261, 4000])
def test_symbols_are_whole_whatever_their_number(vocab_size: int, caplog: pytest.LogCaptureFixture) -> None:
    targets = ["(S (NP XX )NP )S", "(A_LABEL_OF_MANY_CHARACTERS , '' )A_LABEL_OF_MANY_CHARACTERS", "(日本 XX )日本"]
    tokenizer = Tokenizer.train_symbols(targets, DataConfig(vocab_size=vocab_size, split_digits=True))
    symbols = {symbol for target in targets for symbol in target.split()}
    assert tokenizer.words().keys() == symbols
    for target in targets:
        tokens = tokenizer.encode(target)
        assert len(tokens) == len(target.split())
        assert tokenizer.decode(tokens) == target
        assert tokenizer.sample_all([target], 1, 0.5) == [tokens]
    assert not caplog.text


def test_words_of_a_vocabulary_of_pieces() -> None:
    tokenizer = Tokenizer.train(["the dog the dog"] * 5, DataConfig(vocab_size=270))
    assert all(tokenizer.pieces([token]) == [f"▁{word}"] for word, token in tokenizer.words().items())
    assert tokenizer.words()


def test_drawn_for_a_terminal() -> None:
    assert draw_text(tree("(S (NP (DT the) (NN dog)) (VP (VBZ runs)) (. .))")).split("\n") == [
        "S",
        "├─ NP",
        "│  ├─ DT the",
        "│  └─ NN dog",
        "├─ VP",
        "│  └─ VBZ runs",
        "└─ . .",
    ]


def test_drawn_for_a_notebook() -> None:
    drawn = ElementTree.fromstring(draw_svg(tree("(S (NP (DT <b>) (NN dog)) (VP (VBZ 走る)))")))
    space = "{http://www.w3.org/2000/svg}"
    places = {text.text: (float(text.get("x", 0)), float(text.get("y", 0))) for text in drawn.iter(f"{space}text")}
    assert set(places) == {"S", "NP", "DT", "<b>", "NN", "dog", "VP", "VBZ", "走る"}
    assert places["<b>"][0] < places["NP"][0] < places["dog"][0] < places["VP"][0] == places["走る"][0]
    assert places["S"][1] < places["NP"][1] == places["VP"][1] < places["DT"][1] < places["<b>"][1]
    assert len(list(drawn.iter(f"{space}line"))) == 5
    width, height = float(drawn.get("width", 0)), float(drawn.get("height", 0))
    assert all(0 < x < width and 0 < y < height for x, y in places.values())


def test_the_toy_treebank_is_one() -> None:
    assert all(str(tree(text)) == text for text in grow(1, 20))
