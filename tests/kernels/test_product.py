"""Products in bfloat16 on a CPU against float64 products of the same rounded numbers, and who takes them."""

from itertools import product

import pytest
import torch
from torch import Tensor

from heedful import kernels
from heedful.kernels import cpu
from heedful.kernels.cpu.library import library
from heedful.kernels.product import add_product, both_ways, linear, multiply
from heedful.model.attention import MultiHeadAttention
from heedful.model.feed_forward import FeedForward
from heedful.training.loss import projected_cross_entropy

pytestmark = pytest.mark.skipif(
    library() is None or not cpu.multiplies(), reason="this CPU's products are not ours: no AVX512_BF16, or AMX"
)
SIZES = [(1, 1, 1), (12, 32, 64), (37, 45, 77), (5, 33, 4097), (110, 70, 2050), (64, 500, 3), (200, 31, 33)]


def _matrix(rows: int, columns: int, dtype: torch.dtype, across: bool) -> Tensor:
    """Its rows side by side in memory, or its columns."""
    if across:
        return torch.randn(columns, rows, dtype=torch.float32).to(dtype).T
    return torch.randn(rows, columns, dtype=torch.float32).to(dtype)


def _exact(left: Tensor, right: Tensor) -> Tensor:
    return left.bfloat16().double() @ right.bfloat16().double()


@pytest.mark.parametrize(("rows", "columns", "inner"), SIZES)
def test_every_layout_and_type_gives_the_product_of_the_rounded_factors(rows: int, columns: int, inner: int) -> None:
    torch.manual_seed(1)
    for left_across, right_across, dtype in product((False, True), (False, True), (torch.float32, torch.bfloat16)):
        left, right = _matrix(rows, inner, dtype, left_across), _matrix(inner, columns, dtype, right_across)
        wanted = _exact(left, right).float()
        # float32 sums of `inner` numbers of size one
        close = {"rtol": 1e-5, "atol": 1e-6 * inner**0.5 * 4}
        torch.testing.assert_close(cpu.product(left, right, torch.float32), wanted, **close)
        torch.testing.assert_close(cpu.product(left, cpu.lay_out(right), torch.float32), wanted, **close)
        narrow = cpu.product(left, right, torch.bfloat16)
        torch.testing.assert_close(narrow.float(), wanted, rtol=2**-8, atol=1e-5 * inner**0.5)


def test_bias_relu_and_what_is_added_to() -> None:
    torch.manual_seed(1)
    left, right, bias, total = torch.randn(37, 77), torch.randn(77, 45), torch.randn(45), torch.randn(37, 45)
    wanted = _exact(left, right).float()
    rectified = cpu.product(left, right, torch.float32, bias=bias, rectified=True)
    torch.testing.assert_close(rectified, torch.relu(wanted + bias), rtol=1e-5, atol=1e-5)
    sums = cpu.product(left, right, torch.float32, out=total.clone(), added=True)
    torch.testing.assert_close(sums, total + wanted, rtol=1e-5, atol=1e-5)
    rows = torch.zeros(50, 45)
    cpu.product(left, right, torch.float32, out=rows[5:42])
    torch.testing.assert_close(rows[5:42], wanted, rtol=1e-5, atol=1e-5)
    assert not rows[:5].any()
    assert not rows[42:].any()


def test_factors_that_do_not_meet_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 columns cannot meet 4 rows"):
        cpu.product(torch.zeros(2, 3), torch.zeros(4, 5), torch.float32)


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize("shape", [(9, 24), (2, 7, 24), (1, 1, 24)])
def test_a_linear_map_and_its_gradients(shape: tuple[int, ...], rectified: bool) -> None:
    """Against float64 formulas of the rounded factors: nothing but factors and results is narrow."""
    torch.manual_seed(1)
    x, weight, bias = (torch.randn(size, requires_grad=True) for size in (shape, (40, 24), (40,)))
    above = torch.randn(*shape[:-1], 40).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        found = linear(x, weight, bias, rectified)
    assert found.dtype == torch.bfloat16
    gradients = torch.autograd.grad(found, (x, weight, bias), above)
    rows, weights = x.detach().reshape(-1, 24).bfloat16().double(), weight.detach().bfloat16().double()
    output = rows @ weights.T + bias.double()
    grad = above.reshape(-1, 40).double() * ((output > 0) if rectified else 1)
    expected = torch.relu(output) if rectified else output
    torch.testing.assert_close(found.double().reshape(-1, 40), expected, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(gradients[0].double().reshape(-1, 24), grad @ weights, rtol=2**-8, atol=1e-5)
    torch.testing.assert_close(gradients[1].double(), grad.T @ rows, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradients[2].double(), grad.sum(0), rtol=1e-5, atol=1e-5)


def test_frozen_weights_and_repeated_gradients() -> None:
    x, weight = torch.randn(3, 8, requires_grad=True), torch.randn(5, 8)
    with torch.autocast("cpu", torch.bfloat16):
        linear(x, weight, None).sum().backward()  # whose gradient is one number for all
    assert x.grad is not None
    torch.testing.assert_close(x.grad, weight.bfloat16().float().sum(0).expand(3, 8), rtol=2**-7, atol=2**-7)


def test_what_changes_its_result_in_place_may() -> None:
    """In evaluation mode the feed-forward network's ReLU does, and gradients may be asked for."""
    network, x = FeedForward(8, 16).eval(), torch.randn(2, 3, 8)
    with torch.autocast("cpu", torch.bfloat16):
        changed = network(x)
    with torch.autocast("cpu", torch.bfloat16):
        trained = network.train()(x)
    torch.testing.assert_close(changed, trained)
    torch.autograd.grad(changed.float().sum(), list(network.parameters()))


def test_products_that_a_loss_asks_for() -> None:
    torch.manual_seed(1)
    matrix, states, grad = torch.randn(70, 24), torch.randn(9, 24).bfloat16(), torch.randn(9, 70).bfloat16()
    across, along = both_ways(matrix, states)
    assert isinstance(across, cpu.Panels)
    torch.testing.assert_close(multiply(states, across).double(), _exact(states, matrix.T), rtol=2**-8, atol=1e-4)
    torch.testing.assert_close(multiply(grad, along).double(), _exact(grad, matrix), rtol=2**-8, atol=1e-4)
    total = torch.ones(70, 24)
    add_product(total, grad.T, states)
    torch.testing.assert_close(total.double(), 1 + _exact(grad.T, states), rtol=1e-5, atol=1e-5)


def test_a_model_takes_them_and_agrees_with_pytorch_s_products(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    attention, network = MultiHeadAttention(32, 4, 8, 8), FeedForward(32, 64)
    projection, x = torch.nn.Parameter(torch.randn(50, 32)), torch.randn(2, 7, 32)
    parameters = [*attention.parameters(), *network.parameters(), projection]
    asked: list[Tensor] = []
    ours = cpu.product
    monkeypatch.setattr(cpu, "product", lambda left, *rest, **more: asked.append(left) or ours(left, *rest, **more))

    def results() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            hidden = network(attention(attention(x)[0], x)[0]).flatten(0, 1)
            loss = projected_cross_entropy(hidden, projection, torch.arange(14), 0.1)[0]
        return [loss, *torch.autograd.grad(loss, parameters)]

    found, count = results(), len(asked)
    # forward: self-attention 2, attention to x 3, network 2; backward two for each, but x wants none, twice: 12; loss 3
    assert count == 7 + 12 + 3
    with kernels.plain():
        wanted = results()
    assert len(asked) == count
    for mine, theirs in zip(found, wanted, strict=True):
        assert (mine - theirs).norm() < 0.05 * theirs.norm()  # PyTorch rounds gradients of weights too
