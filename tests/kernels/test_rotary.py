"""Rotary positions in one pass against the formula with complex numbers (Su et al. 2021, equation 15)."""

import pytest
import torch
from torch import Tensor

from heedful import kernels
from heedful.kernels.cpu.library import library
from heedful.kernels.rotary import turned
from heedful.model.positions import RotaryPositions, sinusoids

pytestmark = pytest.mark.skipif(library() is None, reason="no C++ compiler here, so no kernels for CPUs")


def _by_complex_numbers(x: Tensor, positions: Tensor) -> Tensor:
    half = x.size(-1) // 2
    angle = positions.double()[..., None] * 10_000.0 ** (-torch.arange(half, dtype=torch.float64) / half)
    turns = torch.polar(torch.ones_like(angle), angle)
    result = torch.complex(x[..., :half].double(), x[..., half:].double()) * turns
    return torch.cat((result.real, result.imag), -1).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("d_k", [2, 12, 32, 70])
@pytest.mark.parametrize("given", [False, True])
def test_turning_and_its_gradient(d_k: int, given: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    x = torch.randn(3, 11, 2, d_k).transpose(1, 2).to(dtype).requires_grad_()
    positions = torch.randint(40, (3, 11)) if given else torch.arange(11).expand(3, -1)
    found = turned(x, sinusoids(40, d_k), positions if given else None)
    assert found is not None
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2**-7}[dtype]
    wanted = _by_complex_numbers(x, positions[:, None])
    torch.testing.assert_close(found.float(), wanted, rtol=tolerance, atol=tolerance)
    above = torch.randn_like(found)
    [grad] = torch.autograd.grad(found, x, above)
    # a rotation's transpose turns the other way
    torch.testing.assert_close(
        grad.float(), _by_complex_numbers(above, -positions[:, None]), rtol=tolerance, atol=tolerance
    )


def test_both_ways_agree() -> None:
    rotary = RotaryPositions(12)
    x, positions = torch.randn(3, 2, 11, 12), torch.randint(40, (3, 11))
    found = rotary(x, 5), rotary.turn(x, positions)
    with kernels.plain():
        torch.testing.assert_close(found, (rotary(x, 5), rotary.turn(x, positions)), rtol=1e-5, atol=1e-5)


def test_tables_and_positions_of_other_types() -> None:
    rotary = RotaryPositions(12).bfloat16()
    x, positions = torch.randn(3, 2, 11, 12), torch.randint(40, (3, 11), dtype=torch.int32)
    found = rotary.turn(x, positions)
    with kernels.plain():
        torch.testing.assert_close(found, rotary.turn(x, positions), rtol=1e-2, atol=1e-2)


def test_a_position_that_there_is_not_is_an_error() -> None:
    rotary = RotaryPositions(12)
    with pytest.raises(IndexError, match="of 256"):
        rotary.turn(torch.randn(1, 2, 2, 12), torch.tensor([[0, 256]]))
