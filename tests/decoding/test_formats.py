"""Every format, with texts that could break it."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from heedful.decoding.formats import FORMATS
from heedful.decoding.translation import TextHypothesis, Translation
from heedful.decoding.translator import Translator
from heedful.errors import HeedfulError

from .conftest import LINES

HYPOTHESES = [
    TextHypothesis("ein Hund ||| bellt |", -0.5, -0.75, ["▁ein", "</s>"], [-0.25, -0.5], [5, 3]),
    TextHypothesis("zwei\u2028Hunde\x85", -1.5, -3.25, ["▁zwei", "X", "</s>"], [-3.0, 0.0, -0.25], [6, 7, 3]),
]


@pytest.fixture
def translation(make_translator: Callable[..., Translator]) -> Translation:
    return Translation('a "dog"\u2028barks', ["▁a", "</s>"], HYPOTHESES, [5, 3], make_translator("rnn"))


def test_text(translation: Translation) -> None:
    assert FORMATS["text"](7, translation) == "ein Hund ||| bellt |"


def test_jsonl(translation: Translation) -> None:
    line = FORMATS["jsonl"](7, translation)
    assert len(line.splitlines()) == 1
    assert json.loads(line) == {
        "source": 'a "dog"\u2028barks',
        "text": "ein Hund ||| bellt |",
        "score": -0.5,
        "tokens": ["▁ein", "</s>"],
        "source_tokens": ["▁a", "</s>"],
        "hypotheses": [
            {"text": each.text, "score": each.score, "log_prob": each.log_prob, "tokens": each.tokens}
            for each in HYPOTHESES
        ],
    }
    assert "▁ein" in line, "readable, not escaped"


def test_nbest(translation: Translation) -> None:
    lines = FORMATS["nbest"](7, translation).split("\n")
    fields = [line.split(" ||| ") for line in lines]
    assert fields == [
        ["7", "ein Hund &#124;&#124;&#124; bellt |", "logp= -0.750000 length= 2", "-0.500000"],
        ["7", "zwei\u2028Hunde\x85", "logp= -3.250000 length= 3", "-1.500000"],
    ]


def test_pharaoh(make_translator: Callable[..., Translator]) -> None:
    [found] = make_translator("transformer").translate(LINES[:1])
    pairs = [tuple(map(int, pair.split("-"))) for pair in FORMATS["pharaoh"](0, found).split()]
    assert [target for _, target in pairs] == list(range(len(found.text.split())))
    assert {source for source, _ in pairs} <= set(range(len(LINES[0].split())))
    assert pairs == found.alignment


def test_pharaoh_of_a_model_without_attention_is_an_error(make_translator: Callable[..., Translator]) -> None:
    [found] = make_translator("rnn").translate(LINES[:1])
    with pytest.raises(HeedfulError, match="no attention"):
        FORMATS["pharaoh"](0, found)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_blank_line_is_a_line(kind: str, make_translator: Callable[..., Translator]) -> None:
    [blank] = make_translator("transformer").translate(["  "])
    written = FORMATS[kind](3, blank)
    assert "\n" not in written
    if kind == "jsonl":
        hypothesis = {"text": "", "score": 0.0, "log_prob": 0.0, "tokens": []}
        empty = {"source": "  ", "text": "", "score": 0.0, "tokens": [], "source_tokens": []}
        assert json.loads(written) == empty | {"hypotheses": [hypothesis]}
    else:
        assert written == ("3 |||  ||| logp= 0.000000 length= 0 ||| 0.000000" if kind == "nbest" else "")


def test_a_text_hypothesis_is_its_own(translation: Translation) -> None:
    other = replace(translation, hypotheses=HYPOTHESES[1:])
    assert (other.text, other.score, other.tokens) == ("zwei\u2028Hunde\x85", -1.5, ["▁zwei", "X", "</s>"])
