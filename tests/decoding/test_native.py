"""The compiled engine against the plain path, and its products against their formulas."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from heedful.decoding.config import SearchConfig
from heedful.decoding.native import library as native
from heedful.decoding.native.choice import Engines
from heedful.decoding.request import PRECISIONS
from heedful.decoding.translation import Translation
from heedful.decoding.translator import Translator
from heedful.errors import HeedfulError
from heedful.model.build import build_model
from heedful.model.config import ModelConfig, TransformerConfig

from .conftest import LINES, random_model

Make = Callable[..., Translator]

compiled = pytest.mark.skipif(native.library() is None, reason="no C++ compiler here, so no compiled engine")

VARIANTS: dict[str, TransformerConfig] = {
    "post-norm": TransformerConfig(layers=3, d_model=32, d_ff=43, heads=2),
    "pre-norm": TransformerConfig(layers=1, decoder_layers=2, d_model=38, d_ff=61, heads=2, norm_position="pre"),
    "learned positions, unlike heads": TransformerConfig(
        layers=2, d_model=29, d_ff=37, heads=3, d_k=7, d_v=35, positions="learned", max_positions=11
    ),
    "restricted": TransformerConfig(layers=2, d_model=32, d_ff=43, heads=2, neighbourhood=5),
    "restricted, even, pre-norm": TransformerConfig(
        layers=2, d_model=38, d_ff=61, heads=2, norm_position="pre", neighbourhood=4
    ),
    "rotary": TransformerConfig(layers=2, d_model=32, d_ff=43, heads=2, positions="rotary"),
    "rotary, unlike heads, restricted": TransformerConfig(
        layers=2, d_model=29, d_ff=37, heads=3, d_k=6, d_v=11, positions="rotary", neighbourhood=5
    ),
    "no positions, nothing shared": TransformerConfig(
        layers=1, d_model=33, d_ff=31, heads=3, positions="none", share_embeddings="none"
    ),
}
# Short and long by turns, so that waiting sentences take the places of those that are done.
MANY = [" ".join([*LINES[i % 7].split() * (1 + i * i % 5), str(i)]) for i in range(97)]


def peaked(config: ModelConfig, tokenizers: Any, seed: int) -> Translator:
    """A random model whose distributions are as uneven as a trained one's."""
    torch.manual_seed(seed)
    model = build_model(config, tokenizers.source.vocab_size, tokenizers.target.vocab_size).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.add_(0.1 * torch.randn_like(weight)).mul_(1.0 if "norm" in name else 1.7)
    return Translator([model], tokenizers, SearchConfig(max_extra_tokens=9))


def both(translator: Translator, monkeypatch: pytest.MonkeyPatch, lines: list[str], **options: Any) -> Any:
    """(translations of the engine, translations of the plain path)."""
    assert translator._engines.serving(translator.search_with(**_request(options))) is not None
    fast = translator.translate(lines, **options)
    with monkeypatch.context() as patch:
        patch.setattr(Engines, "serving", lambda _self, _request: None)
        return fast, translator.translate(lines, **options)


def _request(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in ("prefixes", "batch_tokens")}


def ties(fast: list[Translation], plain: list[Translation]) -> int:
    """How many hypotheses differ. The best ones may only where they are equally good; others also where a sequence
    was kept or not by a hair's breadth. Those that agree must be scored alike."""
    different = 0
    for one, two in zip(fast, plain, strict=True):
        assert len(one.hypotheses) == len(two.hypotheses)
        tie = one.hypotheses[0].token_ids != two.hypotheses[0].token_ids
        assert one.score == pytest.approx(two.score, abs=1e-5, rel=0.0 if tie else 1e-5)
        for ours, theirs in zip(one.hypotheses, two.hypotheses, strict=True):
            if ours.token_ids == theirs.token_ids:
                assert ours.score == pytest.approx(theirs.score, abs=1e-5, rel=1e-5)
                assert ours.token_log_probs == pytest.approx(theirs.token_log_probs, abs=1e-4)
            else:
                different += 1
    return different


@compiled
@pytest.mark.parametrize("beam_size", [1, 4, 5])
@pytest.mark.parametrize("name", VARIANTS)
def test_float32_is_the_plain_path(name: str, beam_size: int, tokenizers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = peaked(VARIANTS[name], tokenizers, seed=beam_size)
    fast, plain = both(translator, monkeypatch, MANY, beam_size=beam_size)
    assert ties(fast, plain) <= 1
    assert len({each.text for each in plain}) > 30, "the sentences have to be told apart"


@compiled
@pytest.mark.parametrize("name", VARIANTS)
def test_n_best_prefixes_and_penalties(name: str, tokenizers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = peaked(VARIANTS[name], tokenizers, seed=7)
    prefixes = ["", "Ein ", "zzz " * 6, "그 개"] * 25
    for options in (
        {"n_best": 5, "prefixes": prefixes[: len(MANY)]},
        {"n_best": 3, "beam_size": 7, "length_penalty_kind": "length", "length_penalty": 1.0},
        {"n_best": 2, "length_penalty_kind": "none", "max_extra_tokens": 1},
    ):
        fast, plain = both(translator, monkeypatch, MANY, **options)
        assert ties(fast, plain) <= 5, "one in a hundred"


@compiled
def test_a_beam_wider_than_the_vocabulary(tokenizers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = peaked(VARIANTS["post-norm"], tokenizers, seed=3)
    width = tokenizers.target.vocab_size + 11
    fast, plain = both(translator, monkeypatch, LINES[:2], beam_size=width, n_best=width, max_extra_tokens=2)
    for one, two in zip(fast, plain, strict=True):
        assert [each.score for each in one.hypotheses] == pytest.approx(
            [each.score for each in two.hypotheses], abs=1e-4
        )


@compiled
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_sentence_is_translated_alike_in_any_company(precision: str, tokenizers: Any) -> None:
    """To the last bit: every sum runs in an order of its own."""
    translator = peaked(VARIANTS["post-norm"], tokenizers, seed=5)
    together = translator.translate(MANY, precision=precision, n_best=3)
    for start in range(0, 97, 13):
        alone = translator.translate(MANY[start], precision=precision, n_best=3)
        assert alone[0].hypotheses == together[start].hypotheses


@compiled
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_change_nothing(threads: int, tokenizers: Any) -> None:
    translator = peaked(VARIANTS["pre-norm"], tokenizers, seed=5)
    expected, before = translator.translate(MANY), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert translator.translate(MANY) == expected
    finally:
        torch.set_num_threads(before)


@compiled
def test_changed_weights_are_seen(tokenizers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = peaked(VARIANTS["post-norm"], tokenizers, seed=5)
    before = translator.translate(LINES)
    with torch.no_grad():
        for weight in translator.models[0].parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    fast, plain = both(translator, monkeypatch, LINES)
    assert ties(fast, plain) == 0
    assert [each.score for each in fast] != [each.score for each in before]


@compiled
def test_a_model_that_is_not_a_number_ends(tokenizers: Any) -> None:
    translator = peaked(VARIANTS["post-norm"], tokenizers, seed=5)
    with torch.no_grad():
        translator.models[0].get_parameter("projection.weight").fill_(torch.nan)
    for found in translator.translate(LINES, beam_size=3):
        assert found.text == ""


# --- products -------------------------------------------------------------------------------------------------------

SHAPES = [(1, 1, 1), (1, 7, 5), (13, 29, 67), (12, 128, 32), (37, 61, 33)]


def product(x: NDArray[np.float32], weight: NDArray[np.float32], bias: NDArray[np.float32], precision: str) -> Any:
    y = np.empty((len(x), len(weight)), np.float32)
    arrays = (array.ctypes.data for array in (x, weight, bias, y))
    engine = native.library()
    assert engine is not None
    engine.heedful_product(*arrays, len(x), x.shape[1], len(weight), PRECISIONS.index(precision))
    return y


def numbers(rows: int, inputs: int, outputs: int) -> tuple[NDArray[np.float32], ...]:
    generator = np.random.default_rng(rows * inputs)
    shapes = ((rows, inputs), (outputs, inputs), (outputs,))
    return tuple(generator.normal(size=shape).astype(np.float32) for shape in shapes)


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_a_float32_product(shape: tuple[int, int, int]) -> None:
    x, weight, bias = numbers(*shape)
    exact = x.astype(np.float64) @ weight.T.astype(np.float64) + bias
    # n additions and products, each off by at most half a unit: n u sum |x w|
    bound = (shape[1] + 1) * 2.0**-24 * (np.abs(x) @ np.abs(weight).T + np.abs(bias))
    assert (np.abs(product(x, weight, bias, "float32") - exact) <= bound).all()


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_a_bfloat16_product_is_that_of_rounded_factors(shape: tuple[int, int, int]) -> None:
    x, weight, bias = numbers(*shape)
    rounded = [torch.from_numpy(each).bfloat16().double().numpy() for each in (x, weight)]
    exact = rounded[0] @ rounded[1].T + bias
    assert product(x, weight, bias, "bfloat16") == pytest.approx(exact, abs=1e-4)


@compiled
@pytest.mark.parametrize("shape", SHAPES)
def test_an_int8_product_is_that_of_integers(shape: tuple[int, int, int]) -> None:
    """A row of x from its least to its largest component has 256 levels, 0 among them; one of W 127 on either side."""
    x, weight, bias = numbers(*shape)
    x_scale = (x.max(1, initial=0) - x.min(1, initial=0))[:, None] / 255
    weight_scale = np.abs(weight).max(1, keepdims=True) / 127
    integers = np.rint(x / x_scale).astype(np.int64) @ np.rint(weight / weight_scale).astype(np.int64).T
    scales = x_scale * weight_scale.T
    got = product(x, weight, bias, "int8")
    # A quotient half-way between two integers may go either way: then a product is off by a level.
    assert (np.abs(got - (integers * scales + bias)) <= 255 * scales + 1e-4).all()
    assert np.mean(np.abs(got - (integers * scales + bias)) < 1e-4) > 0.9
    # Rounding is off by half a level, of x where its largest component is cut off at 255 by one:
    # |x w - x' w'| <= s_x |w| + s_w / 2 |x| + s_x s_w / 2 for each input
    bound = x_scale * np.abs(weight).sum(1) + np.abs(x).sum(1, keepdims=True) * weight_scale.T / 2
    bound += shape[1] * scales / 2
    assert (np.abs(got - (x @ weight.T + bias)) <= bound + 1e-4).all()


@compiled
def test_an_int8_product_of_nothing_is_the_bias() -> None:
    x, weight, bias = numbers(3, 17, 5)
    assert (product(np.zeros_like(x), weight, bias, "int8") == bias).all()
    constant = np.broadcast_to(-0.3 * weight.sum(1) + bias, (3, 5))
    assert product(np.full_like(x, -0.3), weight, bias, "int8") == pytest.approx(constant, abs=0.2)
    assert (product(x, np.zeros_like(weight), bias, "int8") == bias).all()


@compiled
@pytest.mark.parametrize(("precision", "off"), [("bfloat16", 0.05), ("int8", 0.15)])
def test_reduced_precision_stays_close(precision: str, off: float, make_translator: Make) -> None:
    """The first step's log-probabilities, which no earlier choice has changed."""
    translator = make_translator("transformer")
    exact, rough = (translator.translate(MANY, beam_size=1, precision=each) for each in ("float32", precision))
    first = [[each.best.token_log_probs[0] for each in found] for found in (exact, rough)]
    assert first[1] == pytest.approx(first[0], abs=off)
    assert first[1] != first[0]


# --- around it ------------------------------------------------------------------------------------------------------


def test_a_precision_of_the_translator_is_every_calls(make_translator: Make) -> None:
    translator = make_translator("transformer", precision="bfloat16")
    exact = translator.translate(LINES, precision="float32")
    assert translator.search_with(beam_size=2).precision == "bfloat16"
    assert translator.translate(LINES) == translator.translate(LINES, precision="bfloat16") != exact
    with pytest.raises(HeedfulError, match="precision cannot be 'float8'"):
        translator.translate(LINES, precision="float8")


def test_who_is_served(make_translator: Make) -> None:
    def served(translator: Translator, **options: Any) -> bool:
        return translator._engines.serving(translator.search_with(**options)) is not None

    there = native.library() is not None
    assert served(make_translator("transformer")) == there
    assert served(make_translator("prenorm"), n_best=3, precision="int8") == there
    assert not served(make_translator("transformer"), sample=True)
    assert not served(make_translator("transformer", "prenorm"))
    assert not served(make_translator("rnn"))


@pytest.mark.parametrize("name", ["rnn-attention", "transformer"])
def test_precision_where_there_is_no_engine(
    name: str, make_translator: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("heedful"), "propagate", True)
    monkeypatch.setattr("heedful.decoding.native.choice.library", lambda: None)
    translator = make_translator(name)
    exact = translator.translate(LINES)
    assert translator.translate(LINES, precision="int8") == exact
    translator.translate(LINES, precision="int8")
    assert [record.getMessage().split()[0] for record in caplog.records] == ["int8"]
    rounded = translator.translate(LINES, precision="bfloat16")
    for one, two in zip(rounded, exact, strict=True):
        assert one.best.token_log_probs[0] == pytest.approx(two.best.token_log_probs[0], abs=0.1)
    assert rounded != exact


@compiled
def test_ctrl_c_ends_a_search(make_translator: Make) -> None:
    translator = make_translator("transformer")
    lines = LINES * 20_000
    engine = translator._engines.serving(translator.search_with())
    assert engine is not None
    sources = [[*translator.tokenizers.source.encode(line), 3] for line in LINES] * 20_000
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        engine.search(
            sources,
            [[]] * len(lines),
            [60] * len(lines),
            lambda n: float(n),
            width=5,
            n_best=1,
            batch_tokens=2048,
            threads=1,
        )
    assert time.monotonic() - start < 5


@compiled
def test_weights_of_another_kind_are_not_flattened(tokenizers: Any) -> None:
    assert random_model("transformer", tokenizers).flat() is not None
    assert random_model("transformer", tokenizers).double().flat() is None
    for changed in ({"norm": "batch"}, {"norm": "none"}, {"skip": False}, {"deterministic_attention": "buffer"}):
        config = TransformerConfig(layers=1, d_model=14, d_ff=23, heads=2, **changed)  # type: ignore[arg-type]
        assert build_model(config, 347, 347).flat() is None
