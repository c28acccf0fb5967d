"""Options of a call: the model's own settings, flags as text, and errors that name the remedy."""

from typing import Any

import pytest

from heedful.decoding.config import SearchConfig
from heedful.decoding.request import Request
from heedful.errors import HeedfulError

OWN = SearchConfig(beam_size=7, length_penalty=0.9, max_extra_tokens=13)


def test_what_is_not_given_is_the_models_own() -> None:
    assert Request.of(OWN, {}) == Request(7, 0.9, "paper", 13)
    assert Request.of(OWN, {"beam_size": None, "top_k": None}) == Request(7, 0.9, "paper", 13)


def test_text_is_read_as_flags_are() -> None:
    request = Request.of(OWN, {"beam_size": "5", "length_penalty": "1.5", "length_penalty_kind": "none", "n_best": "3"})
    assert request == Request(5, 1.5, "none", 13, n_best=3)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"beam_size": 0}, ["beam-size cannot be 0", "greater than or equal to 1"]),
        ({"beam_size": "many"}, ["beam-size cannot be 'many'"]),
        ({"length_penalty": -1}, ["length-penalty cannot be -1"]),
        ({"length_penalty": float("nan")}, ["length-penalty"]),
        ({"length_penalty_kind": "gnmt"}, ["length-penalty-kind cannot be 'gnmt'", "paper"]),
        ({"beam": 5}, ["unknown option beam", "nearest is beam-size"]),
        ({"length_penalty": float("inf")}, ["length-penalty"]),
        ({"n_best": 11, "beam_size": 7}, ["n-best 11", "give beam-size 11"]),
        ({"n_best": 0}, ["n-best cannot be 0"]),
        ({"temperature": 0.5}, ["temperature is for sampling"]),
        ({"top_k": 5}, ["top-k is for sampling"]),
        ({"top_p": 0.5}, ["top-p is for sampling"]),
        ({"sample": True, "temperature": 0}, ["temperature cannot be 0"]),
        ({"sample": True, "top_p": 1.5}, ["top-p cannot be 1.5"]),
    ],
)
def test_errors(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(HeedfulError) as error:
        Request.of(OWN, options)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_the_beam_is_as_wide_as_n_best_unless_it_is_given() -> None:
    assert Request.of(OWN, {"n_best": 11}).beam_size == 11
    assert Request.of(OWN, {"n_best": 5}).beam_size == 7


def test_samples_may_be_more_than_the_beam() -> None:
    assert Request.of(OWN, {"sample": True, "n_best": 23, "temperature": 0.5, "top_k": 5}).n_best == 23
