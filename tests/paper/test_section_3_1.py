"""Section 3.1: encoder and decoder stacks, sublayer by sublayer from the formula."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from heedful.data.batches import collate_pairs
from heedful.data.tokenizer import BOS, EOS
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.masks import causal_mask, over_heads, padding_mask
from heedful.model.stacks import Teacher

D, N = 14, 3
CONFIG = TransformerConfig(layers=N, d_model=D, d_ff=23, heads=2, dropout=0.0)
SOURCE = padding_mask(torch.tensor([7, 3]))
TARGET = padding_mask(torch.tensor([2, 5]))


def _model(**changes: Any) -> Any:
    torch.manual_seed(0)
    model = build_model(replace(CONFIG, **changes), 37, 37)
    for parameter in model.parameters():  # gains and biases of order one: none can be left out unnoticed
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter)
    return model


def _layer_norm(norm: Any, x: Tensor) -> Tensor:
    return F.layer_norm(x, (D,), norm.weight, norm.bias, 1e-5)


def _post(norm: Any, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
    """LayerNorm(x + Sublayer(x)): the paper's words."""
    return _layer_norm(norm, x + sublayer(x))


def _pre(norm: Any, x: Tensor, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
    return x + sublayer(_layer_norm(norm, x))


@pytest.mark.parametrize(("order", "around"), [("post", _post), ("pre", _pre)])
def test_encoder_is_n_layers_of_self_attention_and_feed_forward(order, around) -> None:
    encoder = _model(norm_position=order).encoder
    assert len(encoder.layers) == N
    x = torch.randn(2, 7, D)
    attend = over_heads(SOURCE)
    result, _ = encoder(x, SOURCE, attend)
    for layer in encoder.layers:
        attention, feed_forward = layer.self_attention, layer.feed_forward
        x = around(layer.self_attention_residual.norm, x, lambda y, f=attention: f(y, mask=attend)[0])
        x = around(layer.feed_forward_residual.norm, x, feed_forward)
    if order == "pre":
        x = _layer_norm(encoder.final_norm, x)
    torch.testing.assert_close(result, x)


@pytest.mark.parametrize(("order", "around"), [("post", _post), ("pre", _pre)])
def test_decoder_inserts_attention_over_the_encoder_between_the_two(order, around) -> None:
    decoder = _model(norm_position=order).decoder
    assert len(decoder.layers) == N
    x, memory = torch.randn(2, 5, D), torch.randn(2, 7, D)
    attend = over_heads(SOURCE)
    result, _, _ = decoder(x, Teacher(memory, TARGET, None, attend, None))
    for layer in decoder.layers:
        own, cross = layer.self_attention, layer.cross_attention
        x = around(layer.self_attention_residual.norm, x, lambda y, f=own: f(y, mask=causal_mask(5)[None, None])[0])
        x = around(layer.cross_attention_residual.norm, x, lambda y, f=cross: f(y, memory, attend)[0])
        x = around(layer.feed_forward_residual.norm, x, layer.feed_forward)
    if order == "pre":
        x = _layer_norm(decoder.final_norm, x)
    torch.testing.assert_close(result, x)


def test_paper_order_leaves_every_position_normalised() -> None:
    """After post-norm nothing follows: the stack's output is LayerNorm's, mean 0 and variance 1."""
    torch.manual_seed(0)
    model: Any = build_model(CONFIG, 37, 37)
    hidden = model.encode(torch.randint(4, 37, (2, 7)), SOURCE).hidden
    torch.testing.assert_close(hidden.mean(-1), torch.zeros(2, 7), atol=1e-5, rtol=0)
    torch.testing.assert_close(hidden.var(-1, unbiased=False), torch.ones(2, 7), atol=1e-3, rtol=0)


@pytest.mark.parametrize("order", ["post", "pre"])
def test_without_skip_a_layer_replaces_the_stream(order) -> None:
    encoder = _model(norm_position=order, norm="none", skip=False).encoder
    x = torch.randn(2, 7, D)
    result, _ = encoder(x, SOURCE, None)
    for layer in encoder.layers:
        x = layer.feed_forward(layer.self_attention(x)[0])
    torch.testing.assert_close(result, x)


@pytest.mark.parametrize("norm", ["layer", "none"])
@pytest.mark.parametrize("order", ["post", "pre"])
def test_dropout_falls_on_the_sublayer_output_before_it_is_added_and_normalised(order, norm) -> None:
    """Section 5.4; with everything but one in 65,536 dropped, a sublayer adds nothing to the stream."""
    encoder = _model(norm_position=order, norm=norm).encoder
    around = [each for layer in encoder.layers for each in (layer.self_attention_residual, layer.feed_forward_residual)]
    for residual in around:
        residual.dropout.p = 1 - 1e-9
    x = torch.randn(2, 7, D)
    expected, norms = x, [residual.norm for residual in around] if order == "post" else [encoder.final_norm]
    for each in norms if norm == "layer" else ():
        expected = _layer_norm(each, expected)
    torch.manual_seed(0)
    torch.testing.assert_close(encoder(x, SOURCE, None)[0], expected)
    assert not torch.allclose(encoder.eval()(x, SOURCE, None)[0], expected)


def test_outputs_are_offset_by_one_position() -> None:
    """The decoder reads BOS and what it has to predict up to the token before."""
    sentences = [[7, 8, 9], [10]]
    batch = collate_pairs([[5], [6, 7]], sentences)
    for row, sentence in enumerate(sentences):
        real = batch.target_mask[row]
        assert batch.target_input[row, real].tolist() == [BOS, *sentence]
        assert batch.target_output[row, real].tolist() == [*sentence, EOS]


def test_every_sublayer_and_the_embeddings_have_width_d_model() -> None:
    model = _model(d_k=5, d_v=3)
    for name, module in model.named_modules():
        if name.endswith(("attention.output", "feed_forward.outer")):
            assert module.out_features == D
    assert model.source_input.tokens.weight.shape == (37, D)
    assert model.encode(torch.full((2, 7), 5), SOURCE).hidden.shape == (2, 7, D)
