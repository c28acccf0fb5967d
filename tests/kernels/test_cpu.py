"""What holds of the kernels for CPUs alone: rounding at the end only, threads, numbers that are none."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from heedful import kernels
from heedful.kernels import cpu
from heedful.kernels.attention import short_attention
from heedful.kernels.cpu.library import library
from heedful.kernels.product import linear
from heedful.kernels.residual import add_dropout, add_norm
from heedful.model.attention import scaled_dot_product_attention
from heedful.model.feed_forward import FeedForward
from heedful.training.consistency import projected_consistency
from heedful.training.loss import projected_cross_entropy

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler here, so no kernels for CPUs")
Inputs = tuple[Tensor, ...]


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    context = short_attention(q, k, v, None, True)
    assert context is not None
    return context


def _linear(*each: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return linear(*each)


def _inputs(*shapes: tuple[int, ...]) -> Inputs:
    torch.manual_seed(1)
    return tuple(torch.randn(shape, requires_grad=True) for shape in shapes)


CASES: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "attention": (_attention, ((7, 3, 130, 20), (7, 3, 140, 20), (7, 3, 140, 36))),
    "add_norm": (lambda *each: add_norm(*each, 1e-5, 9999), ((333, 52), (333, 52), (52,), (52,))),
    "add_dropout": (lambda *each: add_dropout(*each, 9999), ((333, 52), (333, 52))),
    "feed-forward": (partial(linear, rectified=True), ((333, 52), (77, 52), (77,))),
    "loss": (
        lambda hidden, projection: projected_cross_entropy(hidden, projection, torch.arange(111), 0.1)[0],
        ((111, 24), (1003, 24)),
    ),
    "consistency": (
        lambda one, two, projection: projected_consistency((one, two), projection, torch.arange(111), 0.1, 3.0)[0],
        ((111, 24), (111, 24), (1003, 24)),
    ),
}

if cpu.multiplies():
    CASES["linear"] = (_linear, ((2, 333, 52), (77, 52), (77,)))


def _results(name: str, inputs: Inputs) -> list[Tensor]:
    """Output and gradients."""
    torch.manual_seed(2)
    output = CASES[name][0](*inputs)
    return [output, *torch.autograd.grad(output.float().square().sum(), inputs)]


@pytest.mark.parametrize("name", [name for name in CASES if name in ("attention", "add_norm", "add_dropout", "linear")])
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


@pytest.mark.parametrize(("queries", "keys"), [(300, 300), (1, 5), (2, 5000)])
def test_neither_long_attention_nor_one_query_s_is_theirs(queries: int, keys: int) -> None:
    assert short_attention(*_inputs((1, 1, queries, 8), (1, 1, keys, 8), (1, 1, keys, 8)), None, True) is None


def test_without_gradients_attention_is_none_of_theirs() -> None:
    """So that whoever only translates has nothing compiled for training."""
    with torch.no_grad():
        assert short_attention(*_inputs((1, 1, 3, 8), (1, 1, 3, 8), (1, 1, 3, 8)), None, True) is None


def test_attention_of_one_sentence_to_another_s_keys_is_none_of_theirs() -> None:
    assert short_attention(*_inputs((2, 1, 3, 8), (1, 1, 3, 8), (1, 1, 3, 8)), None, True) is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", list(CASES))
def test_torch_s_default_precision_is_no_matter(name: str, dtype: torch.dtype) -> None:
    inputs = _inputs(*CASES[name][1])
    wanted = _results(name, inputs)
    try:
        torch.set_default_dtype(dtype)
        found = _results(name, inputs)
    finally:
        torch.set_default_dtype(torch.float32)
    torch.testing.assert_close(found, wanted)


def test_mixed_precisions_that_they_do_not_know_take_the_plain_path() -> None:
    x, output = torch.zeros(3, 4), torch.zeros(3, 4, dtype=torch.float16)
    assert kernels.backend(x, x.bfloat16()) is cpu
    assert kernels.backend(x, output) is None


@pytest.mark.parametrize("name", list(CASES))
def test_second_derivatives_are_refused_rather_than_wrong(name: str) -> None:
    inputs = _inputs(*CASES[name][1])
    output = CASES[name][0](*inputs).square().sum()
    grads = torch.autograd.grad(output, inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.stack([grad.sum() for grad in grads]).sum().backward()


@pytest.mark.parametrize("target", [7, 8])
def test_a_class_that_there_is_not_is_an_error(target: int) -> None:
    targets = torch.tensor([0, target, -1], dtype=torch.int32)
    if target == 7:
        assert cpu.cross_entropy_rows(torch.zeros(3, 8), targets, 0.1)[1].tolist() == pytest.approx(
            [math.log(8), math.log(8), 0]
        )
        return
    with pytest.raises(IndexError, match="-1 to 8, of 8"):
        cpu.cross_entropy_rows(torch.zeros(3, 8), targets, 0.1)


def test_what_is_traced_takes_the_plain_path() -> None:
    """A program that is exported knows operators of PyTorch alone."""
    network = FeedForward(8, 16)
    program = torch.export.export(network, (torch.randn(3, 8),))
    assert "relu" in str(program.graph)
