"""A parser's output is a tree over exactly the words it was given, whatever its model has learned, which is nothing."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from heedful.data.config import DataConfig
from heedful.data.tokenizer import Tokenizer, Tokenizers
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.corpus import pair_of
from heedful.data.treebank.linearisation import Linearisation
from heedful.data.treebank.reading import trees_in
from heedful.data.treebank.tree import Tree
from heedful.decoding.config import SearchConfig
from heedful.decoding.parser import Parser
from heedful.decoding.translator import Translator
from heedful.errors import HeedfulError
from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig, TransformerConfig
from tests.treebank import grow

TREES = [tree for _, tree in trees_in(grow(1, 12))]
CONFIGS = [
    TreeConfig(linearisation=order, leaves=leaves)  # type: ignore[arg-type]
    for order in ("top-down", "in-order")
    for leaves in ("placeholder", "tags")
]
SENTENCES = [
    "the dog ( near the cat ) sees 10\u00a0000 mice .",
    "x",
    "",
    "the " * 40,
    "🐭 -LRB- (a) )) ((",
]
MODELS: dict[str, Any] = {
    "transformer": TransformerConfig(layers=1, d_model=14, d_ff=23, heads=2, share_embeddings="target"),
    "rnn": RecurrentConfig(d_model=14),
}
Make = Callable[..., Parser]


@pytest.fixture(scope="module")
def make() -> Make:
    """(how trees are written, models of which kinds, the search's settings) → an untrained parser."""

    def made(config: TreeConfig, *kinds: str, **search: Any) -> Parser:
        pairs = [pair_of(tree, Linearisation(config)) for tree in TREES]
        source = Tokenizer.train([source for source, _ in pairs], DataConfig(vocab_size=290))
        target = Tokenizer.train_symbols([target for _, target in pairs], DataConfig())
        models = []
        for seed, kind in enumerate(kinds or ("transformer",), start=1):
            torch.manual_seed(seed)
            models.append(build_model(MODELS[kind], source.vocab_size, target.vocab_size).eval())
        translator = Translator(models, Tokenizers(source, target), SearchConfig(**{"max_extra_tokens": 9} | search))
        return Parser(translator, config)

    return made


def text_of(tree: Tree | None) -> list[str]:
    return tree.words() if tree else []


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.linearisation}-{config.leaves}")
@pytest.mark.parametrize(
    ("kinds", "options"),
    [
        (["transformer"], {"beam_size": 1}),
        (["transformer"], {"beam_size": 4, "max_extra_tokens": 1}),
        (["rnn"], {"beam_size": 3, "n_best": 3}),
        (["transformer", "rnn"], {"beam_size": 2}),
        (["transformer"], {"sample": True, "n_best": 2}),
        (["transformer"], {"beam_size": 2, "precision": "int8"}),
    ],
)
def test_words_come_back_under_one_root(make: Make, config: TreeConfig, kinds: list[str], options: Any) -> None:
    parses = make(config, *kinds).parse(SENTENCES, **options)
    for sentence, parse in zip(SENTENCES, parses, strict=True):
        assert len(parse.trees) == (options.get("n_best", 1) if sentence.strip() else 0)
        for tree in parse.trees:
            words = [word for word in sentence.split(" ") if word]  # a no-break space is in a word
            assert tree.words() == [word.replace("(", "-LRB-").replace(")", "-RRB-") for word in words]
            assert str(next(trees_in([str(tree)]))[1]) == str(tree)
            assert tree.label == "TOP"
            tags = {"XX"} if config.leaves == "placeholder" else {tag for one in TREES for tag in one.tags()}
            assert set(tree.tags()) <= tags


@pytest.mark.parametrize("config", CONFIGS[1:3], ids=["top-down", "in-order"])
def test_batch_size_and_order_change_no_output(make: Make, config: TreeConfig) -> None:
    parser = make(config)
    together = [str(parse) for parse in parser.parse(SENTENCES, beam_size=3)]
    alone = [str(parser.parse([each], beam_size=3, batch_tokens=1)[0]) for each in reversed(SENTENCES)]
    streamed = [str(parse) for parse in parser.parse_stream(iter(SENTENCES), window=2, beam_size=3)]
    assert together == alone[::-1] == streamed


def test_a_sentence_longer_than_what_is_read_of_it_has_all_its_words(make: Make) -> None:
    parser = make(CONFIGS[2])
    parser.translator.max_tokens = 30
    [parse] = parser.parse("word " * 90, beam_size=1)
    assert text_of(parse.tree) == ["word"] * 90


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: f"{config.linearisation}-{config.leaves}")
def test_words_and_tags_of_trees_are_used(make: Make, config: TreeConfig) -> None:
    given = [*TREES, next(trees_in(["(X (UNHEARD-OF a\u00a0b) (NN -RRB-))"]))[1]]
    parser = make(config)
    parses = parser.parse(given, beam_size=2)
    for tree, parse in zip(given, parses, strict=True):
        assert parse.tree
        assert parse.tree.leaves() == tree.leaves()
        if config.leaves == "tags":
            symbols = parse.translation.text.split()
            known = [tag for tag in tree.tags() if tag != "UNHEARD-OF"]
            leaves = [symbol for symbol in symbols if symbol[0] not in "()"]
            assert [leaf for leaf, tag in zip(leaves, tree.tags(), strict=True) if tag != "UNHEARD-OF"] == known
    words = parser.parse([tree.words() for tree in given], beam_size=2)
    assert [text_of(parse.tree) for parse in words] == [text_of(parse.tree) for parse in parses]


def test_the_score_is_the_model_s_own(make: Make) -> None:
    """What is filtered away gives its probability to nobody."""
    parser = make(CONFIGS[1], length_penalty=0.0)
    [parse] = parser.parse("the dog sees the cat")
    scores = parser.translator.score_pairs([("the dog sees the cat", parse.translation.text)])
    assert parse.score == pytest.approx(scores.log_probs[0], rel=1e-4)


def test_a_parse_shows_itself(make: Make) -> None:
    blank, parse = make(CONFIGS[0]).parse(["", "the dog"])
    assert (str(blank), blank.pretty(), blank._repr_svg_(), blank.tree) == ("", "", None, None)
    assert parse.tree
    assert str(parse) == str(parse.tree)
    assert parse.pretty().startswith("TOP\n└─ ")
    assert (parse._repr_svg_() or "").startswith("<svg ")


def test_a_vocabulary_without_brackets_is_no_parser_s() -> None:
    text = Tokenizer.train(["the dog", "the cat"] * 9, DataConfig(vocab_size=270))
    torch.manual_seed(1)
    model = build_model(MODELS["rnn"], text.vocab_size, text.vocab_size).eval()
    with pytest.raises(HeedfulError, match="no tree's symbols"):
        Parser(Translator([model], Tokenizers(text, text)), TreeConfig())
