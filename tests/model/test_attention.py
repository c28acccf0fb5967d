"""The lecture's layers against formulas written with loops, and the two ways through multi-head attention."""

import math

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError

from heedful.model import attention as module
from heedful.model.attention import (
    Additive,
    Attention,
    AttentionWeight,
    DotProduct,
    General,
    MultiHeadAttention,
    Score,
    WeightSum,
    scaled_dot_product_attention,
)
from heedful.model.masks import masked_scores, over_heads, padding_mask
from heedful.model.positions import RotaryPositions

BATCH, SOURCE, TARGET, D = 3, 7, 5, 11
LENGTHS = torch.tensor([7, 2, 5])


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max())
    return e / e.sum()


def _states() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(2)
    return torch.randn(BATCH, SOURCE, D), torch.randn(BATCH, TARGET, D), padding_mask(LENGTHS)


def _dot(_: Score, h: np.ndarray, s: np.ndarray) -> float:
    return float(sum(x * y for x, y in zip(h, s, strict=True)))


def _general(score: Score, h: np.ndarray, s: np.ndarray) -> float:
    return float(s @ score.map.weight.detach().numpy() @ h)


def _additive(score: Score, h: np.ndarray, s: np.ndarray) -> float:
    W, U, v = (m.weight.detach().numpy() for m in (score.query, score.key, score.sum))
    return float(v[0] @ np.tanh(W @ h + U @ s))


@pytest.mark.parametrize(("score", "formula"), [(DotProduct(), _dot), (General(D), _general), (Additive(D), _additive)])
def test_attention_weight_is_score_and_softmax(score, formula) -> None:
    hs, h, mask = _states()
    a = AttentionWeight(score)(hs, h, mask)
    for i in range(BATCH):
        for t in range(TARGET):
            real = int(LENGTHS[i])
            expected = _softmax(np.array([formula(score, h[i, t].numpy(), hs[i, s].numpy()) for s in range(real)]))
            np.testing.assert_allclose(a[i, t, :real].detach().numpy(), expected, atol=2e-6)
            assert (a[i, t, real:] == 0).all()


def test_weight_sum_is_the_weighted_sum_of_hs() -> None:
    hs, _, _ = _states()
    a = torch.rand(BATCH, TARGET, SOURCE)
    c = WeightSum()(a, hs)
    for i in range(BATCH):
        for t in range(TARGET):
            expected = sum(a[i, t, s] * hs[i, s] for s in range(SOURCE))
            torch.testing.assert_close(c[i, t], expected)


@pytest.mark.parametrize("score", [DotProduct(), General(D), Additive(D)])
def test_attention_is_both_for_one_h_or_many(score) -> None:
    hs, h, mask = _states()
    attention = Attention(score)
    c, a = attention(hs, h, mask)
    torch.testing.assert_close(c, WeightSum()(a, hs))
    for t in range(TARGET):
        one_c, one_a = attention(hs, h[:, t], mask)
        assert one_c.shape == (BATCH, D)
        assert one_a.shape == (BATCH, SOURCE)
        torch.testing.assert_close(one_c, c[:, t])
        torch.testing.assert_close(one_a, a[:, t])


def test_attention_without_a_mask_looks_everywhere() -> None:
    hs, h, _ = _states()
    _, a = Attention(DotProduct())(hs, h)
    assert (a > 0).all()
    torch.testing.assert_close(a.sum(-1), torch.ones(BATCH, TARGET))


def test_raw_scores_as_weights() -> None:
    """c = Σ (h · hs_i) hs_i over real tokens, whatever the sum of the weights."""
    torch.manual_seed(2)
    hs, h, mask = torch.randn(BATCH, SOURCE, D), torch.randn(BATCH, D), padding_mask(LENGTHS)
    c, a = Attention(DotProduct(), masked_scores)(hs, h, mask)
    for row, length in enumerate(LENGTHS.tolist()):
        scores = [float(h[row] @ hs[row, at]) for at in range(length)]
        torch.testing.assert_close(a[row], torch.tensor(scores + [0.0] * (SOURCE - length)))
        torch.testing.assert_close(c[row], sum(score * hs[row, at] for at, score in enumerate(scores)))


def test_attention_picks_the_most_similar_state() -> None:
    """The lecture's picture: the larger the dot product, the more of that state is in c."""
    hs = torch.eye(SOURCE).unsqueeze(0) * 10
    c, a = Attention(DotProduct())(hs, hs[:, 3])
    assert a.argmax() == 3
    torch.testing.assert_close(c, hs[:, 3], atol=1e-4, rtol=0)


def _multi_head(attention: str = "self", dropout: float = 0.0) -> tuple:
    torch.manual_seed(3)
    module = MultiHeadAttention(D, heads=3, d_k=5, d_v=2, dropout=dropout)
    torch.nn.init.normal_(module.bias)
    hs, h, mask = _states()
    return (module, h, hs, mask) if attention == "cross" else (module, hs, None, mask)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("use", "causal"), [("self", True), ("self", False), ("cross", False)])
def test_fast_path_equals_the_seen_path(use, masked, causal, dropout, training) -> None:
    module, x, memory, mask = _multi_head(use, dropout)
    module.train(training)
    results = []
    for need_weights in (False, True):
        x.requires_grad_()
        module.zero_grad()
        x.grad = None
        torch.manual_seed(7)  # the same dropout
        output, weights = module(
            x, memory, over_heads(mask) if masked else None, causal=causal, need_weights=need_weights
        )
        output.square().sum().backward()
        assert (weights is not None) == need_weights
        gradients = [x.grad.clone(), *(p.grad.clone() for p in module.parameters())]
        torch.manual_seed(7)
        with torch.no_grad():  # as for translating: other kernels
            alone, _ = module(x, memory, over_heads(mask) if masked else None, causal=causal, need_weights=need_weights)
        results.append([output.detach(), alone, *gradients])
    for fast, seen in zip(*results, strict=True):
        torch.testing.assert_close(fast, seen, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_may_look_nowhere_gets_zeros_and_no_nan(need_weights) -> None:
    module, x, _, mask = _multi_head()
    mask[1] = False
    query, past = module.project(x.requires_grad_())
    if need_weights:
        _, weights = scaled_dot_product_attention(query, *past, over_heads(mask))
        assert weights[1].abs().max() == 0
    output, _ = module.attend(query, past, over_heads(mask), need_weights=need_weights)
    torch.testing.assert_close(output[1], module.output.bias.expand_as(output[1]))
    with torch.no_grad():
        alone, _ = module.attend(*module.project(x), over_heads(mask), need_weights=need_weights)
    torch.testing.assert_close(alone, output)
    output.square().sum().backward()
    assert x.grad.isfinite().all()
    assert x.grad[1].abs().max() == 0
    assert x.grad[0].abs().max() > 0
    assert module.weight.grad.isfinite().all()


def test_extreme_scores_stay_finite_and_padding_stays_out() -> None:
    query, key = torch.full((1, 2, D), 1e3), torch.full((1, 3, D), -1e3)
    value = torch.randn(1, 3, D)
    mask = torch.tensor([[[True, True, False]]])
    output, weights = scaled_dot_product_attention(query, key, value, mask)
    torch.testing.assert_close(weights[0, 0], torch.tensor([0.5, 0.5, 0.0]))
    torch.testing.assert_close(output[0, 0], value[0, :2].mean(0))


def test_dropout_falls_on_weights_that_meet_the_values_and_not_on_those_shown() -> None:
    module, x, _, _ = _multi_head(dropout=0.5)
    _, weights = module(x, need_weights=True)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    query, past = module.project(x)
    context, _ = scaled_dot_product_attention(query, *past, dropout=torch.zeros_like)
    assert context.abs().max() == 0


def test_keys_and_values_grow_and_follow_their_rows() -> None:
    module, x, _, _ = _multi_head()
    _, whole = module.project(x)
    _, head = module.project(x[:, :4])
    _, tail = module.project(x[:, 4:])
    torch.testing.assert_close(head.append(tail).keys, whole.keys)
    torch.testing.assert_close(head.append(tail).values, whole.values)
    picked = whole.pick(torch.tensor([2, 2, 0]))
    assert torch.equal(picked.values[1], whole.values[2])
    assert torch.equal(picked.keys[2], whole.keys[0])


def test_projections_start_as_separate_xavier_maps() -> None:
    torch.manual_seed(0)
    module = MultiHeadAttention(64, heads=4, d_k=32, d_v=8)
    for matrix, rows in zip(module.weight.split(module.sizes), (128, 128, 32), strict=True):
        bound = math.sqrt(6 / (64 + rows))
        assert 0.98 * bound < matrix.abs().max() <= bound
    assert module.bias.abs().max() == 0


def test_rotary_attention_over_a_memory_sees_how_far_from_the_query_s_place_its_positions_are() -> None:
    """Of a memory of equal vectors: what a query at place p gives to j, one at p + 3 gives to j + 3."""
    torch.manual_seed(2)
    attention = MultiHeadAttention(16, 2, 8, 8, rotary=RotaryPositions(8)).eval()
    with torch.no_grad():
        attention.bias.normal_()
    x, memory = torch.randn(1, 1, 16).expand(-1, 2, -1), torch.randn(1, 1, 16).expand(-1, 10, -1)
    _, weights = attention(x, memory, positions=torch.tensor([[2, 5]]), need_weights=True)
    here, there = weights[0].log().unbind(1)
    moved = there[:, 3:] - here[:, :-3]
    torch.testing.assert_close(moved, moved[:, :1].expand(-1, 7), atol=1e-5, rtol=0)
    assert (here.diff(dim=1).abs() > 1e-3).all()


def test_shapes_are_checked_here() -> None:
    """The runtime hook is on under pytest: swapped axes cannot pass."""
    hs, h, mask = _states()
    with pytest.raises(TypeCheckError):
        AttentionWeight(DotProduct())(hs, h.transpose(1, 2), mask)
    with pytest.raises(TypeCheckError):
        scaled_dot_product_attention(h, hs, hs[:, 1:])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_short_sequences_and_long_ones_are_attended_to_alike(
    causal: bool, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(5)
    layer = MultiHeadAttention(D, heads=3, d_k=7, d_v=5)
    x = torch.randn(BATCH, SOURCE, D)
    mask = over_heads(padding_mask(LENGTHS)) if masked else None
    results = []
    for short in (SOURCE * SOURCE, SOURCE * SOURCE - 1):  # up to this many scores a head, products of our own
        monkeypatch.setattr(module, "_SHORT", short)
        output, _ = layer(x, mask=mask, causal=causal)
        results.append((output, *torch.autograd.grad(output.square().sum(), list(layer.parameters()))))
    torch.testing.assert_close(*results)
