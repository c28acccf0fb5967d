"""Restricted self-attention against full attention under a local mask, and against full self-attention."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from heedful import kernels
from heedful.model.attention import MultiHeadAttention
from heedful.model.masks import causal_mask, local_mask, over_heads, padding_mask
from heedful.model.neighbourhood import Neighbourhood
from heedful.model.restricted import RestrictedAttention

BATCH, D, HEADS, D_K, D_V = 3, 11, 3, 5, 2


def _both(r: int, dropout: float = 0.0) -> tuple[RestrictedAttention, MultiHeadAttention]:
    """The same weights."""
    torch.manual_seed(3)
    restricted = RestrictedAttention(D, HEADS, D_K, D_V, r, dropout)
    nn.init.normal_(restricted.bias)
    full = MultiHeadAttention(D, HEADS, D_K, D_V, dropout)
    full.load_state_dict(restricted.state_dict())
    return restricted, full


def _neighbours(length: int, r: int, causal: bool) -> Tensor:
    """Pair by pair, from the definition alone."""
    earliest, latest = (r - 1, 0) if causal else (r // 2, (r - 1) // 2)
    return torch.tensor([[i - earliest <= j <= i + latest for j in range(length)] for i in range(length)])[None, None]


def _run(module: MultiHeadAttention, x: Tensor, mask: Tensor | None, causal: bool, seen: bool) -> list[Tensor]:
    """Output, gradients of the input and of every weight, and the weights of attention if seen."""
    x = x.clone().requires_grad_()
    output, weights = module(x, mask=mask, causal=causal, need_weights=seen)
    gradients = torch.autograd.grad(output.square().sum(), [x, *module.parameters()])
    return [output, *gradients, *([] if weights is None else [weights])]


@pytest.mark.parametrize("seen", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("r", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("length", [1, 2, 7, 15, 29])
def test_it_is_full_attention_under_a_local_mask(length: int, r: int, masked: bool, causal: bool, seen: bool) -> None:
    """Outputs, gradients and weights, to rounding; lengths that are no multiple of r, and shorter than it."""
    restricted, full = _both(r)
    x, local = torch.randn(BATCH, length, D), _neighbours(length, r, causal)
    keys = over_heads(padding_mask(torch.tensor([length, 1, (length + 1) // 2]))) if masked else None
    mask = local if keys is None else keys & local
    for ours, theirs in zip(
        _run(restricted, x, keys, causal, seen), _run(full, x, mask, causal=False, seen=seen), strict=True
    ):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 7, 13])
def test_it_is_full_self_attention_where_r_covers_the_sentence(length: int, causal: bool) -> None:
    """To the last bit: nothing is hidden, so nothing else is done. One position less, and it differs."""
    covering = length if causal else 2 * length - 1
    restricted, full = _both(covering)
    x = torch.randn(BATCH, length, D)
    for ours, theirs in zip(*(_run(module, x, None, causal, seen=False) for module in (restricted, full)), strict=True):
        assert torch.equal(ours, theirs)
    if length > 1:
        restricted.r = covering - 1
        assert not torch.allclose(restricted(x, causal=causal)[0], full(x, causal=causal)[0])


@pytest.mark.parametrize("dropout", [0.0, 0.4])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [5, 29])
def test_the_seen_path_is_the_fast_one(length: int, causal: bool, dropout: float) -> None:
    """Dropout on weights included: whoever looks at them changes nothing."""
    restricted, _ = _both(5, dropout)
    x, results = torch.randn(BATCH, length, D), []
    for seen in (False, True):
        torch.manual_seed(7)
        results.append(_run(restricted, x, None, causal, seen))
    for fast, shown in zip(*results, strict=False):
        torch.testing.assert_close(fast, shown, atol=2e-5, rtol=1e-5)
    assert not results[1][-1][:, :, ~_neighbours(length, 5, causal)[0, 0]].any()


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_same_without_gradients(masked: bool) -> None:
    """There torch's own kernel serves."""
    restricted, full = _both(5)
    local = local_mask(29, 2, 2)[None, None]
    x, keys = torch.randn(BATCH, 29, D), over_heads(padding_mask(torch.tensor([29, 3, 17])))
    mask = keys & local if masked else local
    with torch.no_grad():
        ours, _ = restricted(x, mask=keys if masked else None)
        torch.testing.assert_close(ours, full(x, mask=mask)[0], atol=2e-5, rtol=1e-5)


def test_the_masks_are_the_definition() -> None:
    for length, r in ((7, 3), (7, 4), (5, 1), (5, 11)):
        around = Neighbourhood.centred(r)
        assert torch.equal(local_mask(length, around.before, around.after), _neighbours(length, r, causal=False)[0, 0])
        around = Neighbourhood.causal(r)
        assert torch.equal(local_mask(length, around.before, around.after), _neighbours(length, r, causal=True)[0, 0])
    assert torch.equal(local_mask(7, 6, 0), causal_mask(7))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("length", "r"), [(29, 3), (30, 5), (64, 16), (9, 8), (9, 17), (12, 6)])
def test_the_work_saved_is_counted(length: int, r: int, causal: bool) -> None:
    """Products of queries and keys that torch counts: never more than all pairs, and linear in the length."""
    restricted, _ = _both(r)
    with kernels.plain(), FlopCounterMode(display=False) as counter:
        restricted(torch.randn(1, length, D), causal=causal)
    projections = 2 * length * D * (sum(restricted.sizes) + HEADS * D_V)
    around = Neighbourhood.causal(r) if causal else Neighbourhood.centred(r)
    pairs = (counter.get_total_flops() - projections) // (2 * HEADS * (D_K + D_V))
    assert pairs == around.pairs(length) <= length**2
    if length % r == 0 and length > 2 * r:
        assert pairs == (2 * r - 1) * length


def test_a_step_keeps_the_last_r_positions() -> None:
    """Thirteen steps one by one are the causal layer at once; the past never holds more than r."""
    restricted, _ = _both(5)
    x = torch.randn(BATCH, 13, D)
    at_once, _ = restricted(x, causal=True)
    past = restricted.project(x)[1].last(0)
    for position in range(13):
        output, past = restricted.step(x[:, position : position + 1], past, position)
        assert past.keys.size(2) == past.values.size(2) == min(5, position + 1)
        torch.testing.assert_close(output[:, 0], at_once[:, position], atol=2e-5, rtol=1e-5)


def test_memory_is_linear_in_the_length() -> None:
    """What autograd keeps of the scores: for twice the length twice as much, not four times."""

    def kept(length: int) -> int:
        numbers = 0

        def keep(tensor: Tensor) -> Tensor:
            nonlocal numbers
            numbers += tensor.numel()
            return tensor

        restricted, _ = _both(16)
        x = torch.randn(1, length, D)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            restricted(x)
        return numbers

    assert kept(512) < 2.1 * kept(256)
