"""Section 4: why self-attention. Operations per layer by the formula, path lengths by gradients."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from heedful.model.build import build_model
from heedful.model.complexity import forward_flops
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.model.convolution import Convolution, SeparableConvolution

N, D = 31, 64
TRANSFORMER = TransformerConfig(layers=1, d_model=D, d_ff=128, heads=4, dropout=0.0, positions="none")
RECURRENT = RecurrentConfig(d_model=D, dropout=0.0, bidirectional=False)


def _encoder(config: Any, n: int, d: int) -> int:
    return forward_flops(replace(config, d_model=d), 1, n, 1).encoder


def test_self_attention_is_quadratic_in_n_and_linear_in_d() -> None:
    """What remains of one layer when twice that of half the length is taken away are the n² · d products:
    scores and weighted sums, a multiply-add each for every pair of positions and component."""

    def pairs(n: int, d: int) -> int:
        return _encoder(TRANSFORMER, n, d) - 2 * _encoder(TRANSFORMER, n // 2, d)

    assert pairs(2 * N, D) == 2 * (2 * 2) * N**2 * D  # 2 products · 2 FLOPs · ((2N)² - 2N²) d
    assert pairs(4 * N, D) == 4 * pairs(2 * N, D)
    assert pairs(2 * N, 2 * D) == 2 * pairs(2 * N, D)


def test_restricted_attention_is_linear_in_n_in_r_and_in_d() -> None:
    """O(r · n · d): in blocks of r a query meets 2r - 1 keys."""

    def pairs(n: int, d: int, r: int) -> int:
        whole = replace(TRANSFORMER, neighbourhood=r)
        maps = _encoder(TRANSFORMER, n, d) - 4 * n**2 * d  # what full attention does beside its pairs
        return _encoder(whole, n, d) - maps

    assert pairs(256, D, 8) == 4 * 256 * 15 * D
    assert pairs(512, D, 8) == 2 * pairs(256, D, 8)
    assert pairs(256, 2 * D, 8) == 2 * pairs(256, D, 8)
    assert pairs(256, D, 16) / pairs(256, D, 8) == 31 / 15
    assert pairs(8, D, 8) == 4 * 8**2 * D  # never more than all pairs


def test_recurrence_is_linear_in_n_and_quadratic_in_d() -> None:
    assert _encoder(RECURRENT, 2 * N, D) == 2 * _encoder(RECURRENT, N, D)
    assert _encoder(RECURRENT, N, 2 * D) == 4 * _encoder(RECURRENT, N, D)


@pytest.mark.parametrize(("n", "cheaper"), [(D // 2, True), (4 * D, False)])
def test_self_attention_is_cheaper_than_recurrence_where_n_is_less_than_d(n: int, cheaper: bool) -> None:
    """What is done for each pair of positions against one of the four gates of a cell."""
    attention = (_encoder(TRANSFORMER, 2 * n, D) - 2 * _encoder(TRANSFORMER, n, D)) // 2
    assert attention == 4 * n**2 * D
    assert (attention < _encoder(RECURRENT, n, D) // 4) == cheaper


def _multiply_adds(layer: nn.Module, n: int) -> int:
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None), FlopCounterMode(display=False) as counter:
        layer(torch.randn(1, n, D))
    return counter.get_total_flops() // 2


@pytest.mark.parametrize("k", [3, 9])
def test_a_convolution_costs_k_times_what_recurrence_does_and_a_separable_one_less(k: int) -> None:
    """O(k · n · d²), and O(k · n · d + n · d²)."""
    assert _multiply_adds(Convolution(D, k), N) == k * N * D**2
    assert _multiply_adds(SeparableConvolution(D, k), N) == k * N * D + N * D**2


def test_a_separable_convolution_over_all_positions_costs_what_attention_and_a_point_wise_layer_do() -> None:
    """ "Even with k = n": one product for every pair of positions and component, and one for every position's map."""
    pairs = (_encoder(TRANSFORMER, 2 * N, D) - 2 * _encoder(TRANSFORMER, N, D)) // (2 * 2 * 2)  # scores alone, once
    point_wise = _multiply_adds(nn.Linear(D, D), N)
    assert _multiply_adds(SeparableConvolution(D, N), N) == pairs + point_wise


def _reach(hidden: torch.Tensor, x: torch.Tensor) -> list[list[bool]]:
    """Row i: the positions from which x reaches the output at i."""
    rows = []
    for position in range(x.size(1)):
        (gradient,) = torch.autograd.grad(hidden[0, position].square().sum(), x, retain_graph=True)
        rows.append((gradient[0].abs().sum(-1) > 0).tolist())
    return rows


def test_one_layer_of_self_attention_connects_any_two_positions() -> None:
    """Maximum path length O(1)."""
    torch.manual_seed(0)
    encoder: Any = build_model(TRANSFORMER, 37, 37).encoder
    x = torch.randn(1, 7, D, requires_grad=True)
    hidden, _ = encoder(x, torch.ones(1, 7, dtype=torch.bool), None)
    assert _reach(hidden, x) == [[True] * 7] * 7


def test_restricted_attention_needs_layers_for_what_is_far() -> None:
    """Maximum path length O(n / r): each layer of a stack brings (r - 1) / 2 positions more within reach."""
    torch.manual_seed(0)
    n, r = 19, 5
    for layers in (1, 2, 3):
        encoder: Any = build_model(replace(TRANSFORMER, layers=layers, neighbourhood=r), 37, 37).encoder
        x = torch.randn(1, n, D, requires_grad=True)
        hidden, _ = encoder(x, torch.ones(1, n, dtype=torch.bool), None)
        far = layers * (r - 1) // 2
        assert _reach(hidden, x) == [[abs(i - j) <= far for j in range(n)] for i in range(n)]


def test_convolutions_need_a_stack_for_what_is_far_and_dilated_ones_a_lower_one() -> None:
    """Maximum path length O(n / k): each layer brings (k - 1) / 2 positions; dilated O(log_k n): k times as many."""
    torch.manual_seed(0)
    n, k = 31, 3
    x = torch.randn(1, n, D, requires_grad=True)
    for layers in (1, 2, 3):
        contiguous = nn.Sequential(*(Convolution(D, k) for _ in range(layers)))
        dilated = nn.Sequential(*(Convolution(D, k, k**layer) for layer in range(layers)))
        for stack, far in ((contiguous, layers * (k - 1) // 2), (dilated, (k**layers - 1) // 2)):
            middle = n // 2  # from near the ends a way would lead beyond them
            assert _reach(stack(x), x)[middle] == [abs(middle - j) <= far for j in range(n)]


def test_recurrence_passes_through_every_position_between() -> None:
    """Maximum path length O(n): cut the state at one position, and nothing from before it arrives after it."""
    torch.manual_seed(0)
    network: Any = build_model(RECURRENT, 37, 37).encoder.network
    x = torch.randn(1, 7, D, requires_grad=True)
    whole, _ = network(x)
    assert _reach(whole, x)[6] == [True] * 7
    _, state = network(x[:, :3])
    rest, _ = network(x[:, 3:], tuple(part.detach() for part in state))
    (gradient,) = torch.autograd.grad(rest[0, -1].square().sum(), x)
    assert (gradient[0].abs().sum(-1) > 0).tolist() == [False] * 3 + [True] * 4


def test_recurrence_takes_n_steps_one_after_the_other() -> None:
    """Sequential operations: the longest chain in the graph grows with n in a recurrent network alone."""
    torch.manual_seed(0)

    def chain(config: Any, n: int) -> int:
        model: Any = build_model(config, 37, 37)
        source = torch.randint(4, 37, (1, n))
        with torch.backends.mkldnn.flags(enabled=False):  # its own kernel is one node, whatever it does inside
            memory = model.encode(source, torch.ones_like(source).bool())
        return _longest_chain((memory.final[0] if isinstance(config, RecurrentConfig) else memory.hidden).grad_fn)

    assert chain(RECURRENT, 11) - chain(RECURRENT, 5) >= 3 * (11 - 5)
    assert chain(TRANSFORMER, 11) == chain(TRANSFORMER, 5)


def _longest_chain(node: Any) -> int:
    """Nodes on the longest way through an autograd graph."""
    known: dict[Any, int] = {}
    stack = [node]
    while stack:
        current = stack[-1]
        ahead = [each for each, _ in current.next_functions if each is not None]
        missing = [each for each in ahead if each not in known]
        if missing:
            stack += missing
        else:
            known[current] = 1 + max((known[each] for each in ahead), default=0)
            stack.pop()
    return known[node]
