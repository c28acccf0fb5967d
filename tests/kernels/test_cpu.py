"""What holds of the kernels for CPUs alone: rounding at the end only, threads, numbers that are none."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from heedful import kernels
from heedful.kernels import cpu
from heedful.kernels.attention import short_attention
from heedful.kernels.cpu.library import library
from heedful.kernels.feed_forward import rectified_linear
from heedful.kernels.residual import add_dropout, add_norm
from heedful.model.attention import scaled_dot_product_attention
from heedful.training.consistency import projected_consistency
from heedful.training.loss import projected_cross_entropy

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler here, so no kernels for CPUs")
Inputs = tuple[Tensor, ...]


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    context = short_attention(q, k, v, None, True)
    assert context is not None
    return context


def _inputs(*shapes: tuple[int, ...]) -> Inputs:
    torch.manual_seed(1)
    return tuple(torch.randn(shape, requires_grad=True) for shape in shapes)


CASES: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "attention": (_attention, ((7, 3, 130, 20), (7, 3, 140, 20), (7, 3, 140, 36))),
    "add_norm": (lambda *each: add_norm(*each, 1e-5, 9999), ((333, 52), (333, 52), (52,), (52,))),
    "add_dropout": (lambda *each: add_dropout(*each, 9999), ((333, 52), (333, 52))),
    "feed-forward": (rectified_linear, ((333, 52), (77, 52), (77,))),
    "loss": (
        lambda hidden, projection: projected_cross_entropy(hidden, projection, torch.arange(111), 0.1)[0],
        ((111, 24), (1003, 24)),
    ),
    "consistency": (
        lambda one, two, projection: projected_consistency((one, two), projection, torch.arange(111), 0.1, 3.0)[0],
        ((111, 24), (111, 24), (1003, 24)),
    ),
}


def _results(name: str, inputs: Inputs) -> list[Tensor]:
    """Output and gradients."""
    torch.manual_seed(2)
    output = CASES[name][0](*inputs)
    return [output, *torch.autograd.grad(output.float().square().sum(), inputs)]


@pytest.mark.parametrize("name", ["attention", "add_norm", "add_dropout"])
def test_the_number_of_threads_changes_no_bit(name: str) -> None:
    inputs, threads = _inputs(*CASES[name][1]), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = _results(name, inputs)
        torch.set_num_threads(3)
        assert all(torch.equal(a, b) for a, b in zip(one, _results(name, inputs), strict=True))
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", list(CASES))
def test_a_nan_is_not_lost(name: str) -> None:
    """A training that diverges has to show it in its loss."""
    inputs = _inputs(*CASES[name][1])
    with torch.no_grad():
        inputs[0][(0,) * inputs[0].dim()] = math.nan
    assert _results(name, inputs)[0].isnan().any()


def test_bfloat16_attention_is_float32_s_rounded_at_its_end() -> None:
    """The plain path rounds scores and weights too."""
    inputs = tuple(each.detach().bfloat16().requires_grad_() for each in _inputs(*CASES["attention"][1]))
    wide = tuple(each.detach().float().requires_grad_() for each in inputs)
    causal = torch.ones(130, 140, dtype=torch.bool).tril()
    exact, _ = scaled_dot_product_attention(*wide, causal)
    above = torch.randn_like(exact).bfloat16()
    found = _attention(*inputs)
    torch.testing.assert_close(found.float(), exact, rtol=2**-8, atol=1e-5)
    wanted = torch.autograd.grad(exact, wide, above.float())
    for grad, each in zip(torch.autograd.grad(found, inputs, above), wanted, strict=True):
        torch.testing.assert_close(grad.float(), each, rtol=2**-8, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_other_precisions_take_the_plain_path(dtype: torch.dtype) -> None:
    assert kernels.backend(torch.zeros(1)) is cpu
    assert kernels.backend(torch.zeros(1, dtype=dtype)) is None


def test_without_kernels_for_whoever_asks() -> None:
    with kernels.plain():
        assert kernels.backend(torch.zeros(1)) is None
    assert kernels.backend(torch.zeros(1)) is cpu


def test_long_attention_is_none_of_theirs() -> None:
    q, k, v = _inputs((1, 1, 300, 8), (1, 1, 300, 8), (1, 1, 300, 8))
    assert short_attention(q, k, v, None, True) is None
