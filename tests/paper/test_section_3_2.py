"""Section 3.2: scaled dot-product attention, its heads, its three uses, and what each may see."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from heedful.model.attention import (
    Additive,
    Attention,
    DotProduct,
    MultiHeadAttention,
    scaled_dot_product_attention,
)
from heedful.model.build import build_model
from heedful.model.complexity import forward_flops, parameters
from heedful.model.config import TransformerConfig
from heedful.model.masks import over_heads, padding_mask
from heedful.model.stacks import Teacher

QUERY, KEY, D, H, D_K, D_V = 5, 7, 11, 3, 13, 2


def _attention(q: Tensor, k: Tensor, v: Tensor, allowed: list[list[bool]]) -> tuple[list, list]:
    """Equation 1 in numbers, one query at a time."""
    outputs, weights = [], []
    for i, row in enumerate(q.tolist()):
        scores = [
            sum(a * b for a, b in zip(row, key, strict=True)) / math.sqrt(len(row)) if allowed[i][j] else -math.inf
            for j, key in enumerate(k.tolist())
        ]
        exponentials = [math.exp(score - max(scores)) for score in scores]
        weights.append([e / sum(exponentials) for e in exponentials])
        outputs.append([sum(w * x for w, x in zip(weights[-1], column, strict=True)) for column in v.T.tolist()])
    return outputs, weights


def test_equation_1() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(QUERY, D_K), torch.randn(KEY, D_K), torch.randn(KEY, D_V)
    mask = torch.rand(QUERY, KEY) > 0.3
    assert mask.any(1).all()
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    expected_output, expected_weights = _attention(q, k, v, mask.tolist())
    torch.testing.assert_close(output, torch.tensor(expected_output))
    torch.testing.assert_close(weights, torch.tensor(expected_weights))


def test_scaling_keeps_the_variance_of_scores_at_one() -> None:
    """Footnote 4: q · k of d_k independent unit components has variance d_k; divided by sqrt(d_k), one."""
    torch.manual_seed(0)
    d_k = 257
    q, k = torch.randn(1009, d_k), torch.randn(1009, d_k)
    _, weights = scaled_dot_product_attention(q, k, torch.zeros(1009, 1))
    scores = weights.log()
    assert (scores - scores.mean(1, keepdim=True)).var().item() == pytest.approx(1, abs=0.02)


def test_without_scaling_a_large_d_k_leaves_softmax_hardly_a_gradient() -> None:
    """Section 3.2.1: what comes back to the scores, of weights that are asked for at random."""
    torch.manual_seed(0)

    def gradient(d_k: int, factor: float) -> float:
        q, k = torch.randn(257, d_k) * factor, torch.randn(64, d_k)
        _, weights = scaled_dot_product_attention(q, k, torch.zeros(64, 1))
        above = torch.randn(257, 64)
        scores_grad = weights * (above - (weights * above).sum(1, keepdim=True))
        return scores_grad.abs().sum(1).median().item()

    scaled, unscaled = ([gradient(d_k, d_k**power) for d_k in (4, 4096)] for power in (0.0, 0.5))
    assert scaled[1] == pytest.approx(scaled[0], rel=0.2)
    assert unscaled[1] < unscaled[0] / 10


def test_dot_product_attention_is_the_same_but_for_the_scale() -> None:
    """Section 3.2.1: that of queries longer by √d_k."""
    torch.manual_seed(0)
    hs, h = torch.randn(2, KEY, D), torch.randn(2, QUERY, D)
    c, a = Attention(DotProduct())(hs, h)
    scaled = scaled_dot_product_attention(h * math.sqrt(D), hs, hs)
    torch.testing.assert_close((c, a), scaled, atol=1e-5, rtol=1e-5)


def test_additive_attention_is_a_feed_forward_network_with_one_hidden_layer() -> None:
    """Section 3.2.1: over query and key side by side."""
    torch.manual_seed(0)
    score = Additive(D)
    network = torch.nn.Sequential(
        torch.nn.Linear(2 * D, D, bias=False), torch.nn.Tanh(), torch.nn.Linear(D, 1, bias=False)
    )
    with torch.no_grad():
        network[0].weight.copy_(torch.cat((score.query.weight, score.key.weight), dim=1))
        network[2].weight.copy_(score.sum.weight)
    hs, h = torch.randn(2, KEY, D), torch.randn(2, QUERY, D)
    found = score(h, score.keys(hs))
    for i in range(QUERY):
        for j in range(KEY):
            torch.testing.assert_close(found[:, i, j], network(torch.cat((h[:, i], hs[:, j]), dim=-1)).squeeze(-1))


def test_multi_head_is_concatenated_heads_times_w_o() -> None:
    """Section 3.2.2, head by head, d_k and d_v free."""
    torch.manual_seed(0)
    module = MultiHeadAttention(D, H, D_K, D_V)
    torch.nn.init.normal_(module.bias)
    torch.nn.init.normal_(module.output.bias)
    x, memory = torch.randn(2, QUERY, D), torch.randn(2, KEY, D)
    mask = padding_mask(torch.tensor([7, 4]))
    output, weights = module(x, memory, over_heads(mask), need_weights=True)
    W_Q, W_K, W_V = module.weight.split([H * D_K, H * D_K, H * D_V])
    b_Q, b_K, b_V = module.bias.split([H * D_K, H * D_K, H * D_V])
    for i in range(2):
        heads = []
        for h in range(H):
            keys, values = slice(h * D_K, (h + 1) * D_K), slice(h * D_V, (h + 1) * D_V)
            q = x[i] @ W_Q[keys].T + b_Q[keys]
            k = memory[i] @ W_K[keys].T + b_K[keys]
            v = memory[i] @ W_V[values].T + b_V[values]
            head, a = _attention(q, k, v, [mask[i].tolist()] * QUERY)
            heads.append(torch.tensor(head))
            torch.testing.assert_close(weights[i, h], torch.tensor(a), atol=1e-6, rtol=1e-4)
        concatenated = torch.cat(heads, dim=-1)
        expected = concatenated @ module.output.weight.T + module.output.bias
        torch.testing.assert_close(output[i], expected, atol=1e-5, rtol=1e-4)


def test_heads_default_to_d_model_over_h() -> None:
    model: Any = build_model(TransformerConfig(layers=1, d_model=30, d_ff=7, heads=5), 37, 37)
    attention = model.encoder.layers[0].self_attention
    query, past = attention.project(torch.randn(1, 3, 30))
    assert query.shape == past.keys.shape == past.values.shape == (1, 5, 3, 6)


def _paper_model() -> Any:
    torch.manual_seed(0)
    return build_model(TransformerConfig(layers=2, d_model=14, d_ff=23, heads=2, dropout=0.0), 37, 37)


def test_encoder_self_attention_sees_every_real_position() -> None:
    """Section 3.2.3, second use: keys, values and queries of one place, no order hidden."""
    encoder = _paper_model().encoder
    mask = padding_mask(torch.tensor([7, 4]))
    x = torch.randn(2, 7, 14, requires_grad=True)
    output, _ = encoder(x, mask, over_heads(mask))
    for position in range(4):
        (gradient,) = torch.autograd.grad(output[1, position].square().sum(), x, retain_graph=True)
        reached = gradient.abs().sum(-1) > 0
        assert reached.tolist() == [[False] * 7, [True] * 4 + [False] * 3]


def test_decoder_self_attention_sees_no_later_position() -> None:
    """Third use, proven by gradients: of position i's output with respect to every position's input."""
    decoder = _paper_model().decoder
    mask = padding_mask(torch.tensor([5, 5]))
    x = torch.randn(2, 5, 14, requires_grad=True)
    output, _, _ = decoder(x, Teacher(torch.randn(2, 7, 14), mask, None, None, None))
    for position in range(5):
        (gradient,) = torch.autograd.grad(output[0, position].square().sum(), x, retain_graph=True)
        reached = gradient.abs().sum(-1) > 0
        assert reached[0].tolist() == [key <= position for key in range(5)]
        assert not reached[1].any()


def test_every_decoder_position_sees_the_whole_source_and_no_padding() -> None:
    """First use: queries from the decoder, keys and values from the encoder's output."""
    decoder = _paper_model().decoder
    source_mask = padding_mask(torch.tensor([7, 3]))
    memory = torch.randn(2, 7, 14, requires_grad=True)
    target_mask = torch.ones(2, 5, dtype=torch.bool)
    output, _, _ = decoder(torch.randn(2, 5, 14), Teacher(memory, target_mask, None, over_heads(source_mask), None))
    for position in range(5):
        (gradient,) = torch.autograd.grad(output[1, position].square().sum(), memory, retain_graph=True)
        reached = gradient.abs().sum(-1) > 0
        assert reached.tolist() == [[False] * 7, [True] * 3 + [False] * 4]


def test_decoder_batch_norm_in_training_is_the_known_exception() -> None:
    """Its statistics mix the batch's positions, so a later one reaches an earlier one; in evaluation none does."""
    torch.manual_seed(0)
    config = TransformerConfig(layers=1, d_model=14, d_ff=23, heads=2, dropout=0.0, norm="batch")
    decoder = build_model(config, 37, 37).decoder
    teacher = Teacher(torch.randn(1, 7, 14), torch.ones(1, 5, dtype=torch.bool), None, None, None)
    for training in (True, False):
        x = torch.randn(1, 5, 14, requires_grad=True)
        output, _, _ = decoder.train(training)(x, teacher)
        output[0, 1].square().sum().backward()
        assert (x.grad[0, 2:].abs().max() > 0) == training


def test_illegal_connections_have_weight_zero_exactly() -> None:
    """Section 3.2.3: masked out before the softmax, so what remains still sums to one."""
    torch.manual_seed(0)
    module = MultiHeadAttention(D, H, D_K, D_V)
    _, weights = module(torch.randn(2, QUERY, D), causal=True, need_weights=True)
    assert not weights.triu(1).any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, H, QUERY))


def test_h_narrow_heads_cost_what_one_wide_head_does() -> None:
    """Section 3.2.2: with d_k = d_v = d_model / h, parameters and products are those of one head of full width."""
    paper, single = TransformerConfig(), TransformerConfig(heads=1)
    assert parameters(paper, 37_000, 37_000) == parameters(single, 37_000, 37_000)
    assert forward_flops(paper, 37_000, 27, 29) == forward_flops(single, 37_000, 27, 29)


@pytest.mark.parametrize("order", ["post", "pre"])
def test_the_whole_model_predicts_a_token_from_earlier_ones_alone(order: str) -> None:
    """Section 3.1: the prediction for position i depends on the outputs before i; by gradients, end to end."""
    torch.manual_seed(0)
    config = TransformerConfig(layers=2, d_model=14, d_ff=23, heads=2, dropout=0.0, norm_position=order)  # type: ignore[arg-type]
    model: Any = build_model(config, 37, 37)
    target = torch.arange(5, 12).view(1, 7)  # each token once, so that its row is its position
    source = torch.full((1, 3), 4)
    hidden = model(source, torch.ones_like(source).bool(), target, torch.ones_like(target).bool())
    table = model.target_input.tokens.weight
    for position in range(7):
        (gradient,) = torch.autograd.grad(hidden[0, position].square().sum(), table, retain_graph=True)
        seen = gradient[5:12].abs().sum(-1) > 0
        assert seen.tolist() == [key <= position for key in range(7)]
