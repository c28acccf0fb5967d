"""Sum, dropout and norm in one kernel against PyTorch's, with the mask that the gradient betrays."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from heedful import kernels
from heedful.kernels.residual import LEVELS, add_dropout, add_norm
from heedful.model.dropout import Dropout
from heedful.model.norm import BatchNorm, LayerNorm, NoNorm
from heedful.model.stacks import PostNorm, PreNorm, Residual

TENTH = LEVELS // 10
CLOSE = {torch.float32: {"rtol": 1e-4, "atol": 1e-5}, torch.bfloat16: {"rtol": 2e-2, "atol": 2e-2}}


def _case(d_model: int, dtype: torch.dtype, device: str) -> list[Tensor]:
    """x, output (its positions and sentences exchanged in memory), gain, bias."""
    torch.manual_seed(1)
    shapes = ((13, 3, d_model), (3, 13, d_model), (d_model,), (d_model,))
    x, output, gain, bias = (torch.randn(shape, device=device, dtype=dtype) for shape in shapes)
    return [each.requires_grad_() for each in (x, output.transpose(0, 1), gain, bias)]


@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
@pytest.mark.parametrize("d_model", [17, 192, 400, 512])
@pytest.mark.parametrize("dropped", [0, TENTH])
def test_norm_of_the_sum_and_its_gradients(d_model: int, dropped: int, dtype: torch.dtype, device: str) -> None:
    x, output, gain, bias = inputs = _case(d_model, dtype, device)
    found = add_norm(x, output, gain, bias, 1e-5, dropped)
    assert found.dtype == dtype
    above = torch.randn_like(found)
    grads = torch.autograd.grad(found, inputs, above)
    mask = _mask(grads[1], dropped)
    # one pass in float32, rounded at its end
    wide = [each.detach().float().requires_grad_() for each in inputs]
    wanted = F.layer_norm(wide[0] + wide[1] * mask, (d_model,), *wide[2:])
    torch.testing.assert_close(found, wanted.to(dtype), **CLOSE[dtype])
    for grad, each in zip(grads, torch.autograd.grad(wanted, wide, above.float()), strict=True):
        torch.testing.assert_close(grad, each.to(dtype), **CLOSE[dtype])


@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
def test_sum_and_its_gradients(dtype: torch.dtype, device: str) -> None:
    x, output, *_ = _case(192, dtype, device)
    found = add_dropout(x, output, TENTH)
    above = torch.randn(found.shape, device=device).to(dtype)  # narrow draws have zeros, of which no mask can be told
    x_grad, output_grad = torch.autograd.grad(found, (x, output), above)
    mask = _mask(output_grad, TENTH)
    torch.testing.assert_close(found, (x + output * mask).to(dtype), **CLOSE[dtype])
    torch.testing.assert_close((x_grad, output_grad), (above, (above * mask).to(dtype)), **CLOSE[dtype])


def _mask(output_grad: Tensor, dropped: int) -> Tensor:
    """Zeros where nothing flows back, else what keeps the mean."""
    kept = (output_grad != 0).float()
    assert kept.mean().item() == pytest.approx(1 - dropped / LEVELS, abs=0.04)
    return kept * (LEVELS / (LEVELS - dropped))


@pytest.mark.parametrize("p", [0.1, 0.3])
def test_as_many_zeros_as_asked_for_anywhere_and_other_ones_every_time(p: float, device: str) -> None:
    ones = torch.ones(64, 512, device=device)
    first, second = (add_dropout(torch.zeros_like(ones), ones, round(p * LEVELS)) for _ in range(2))
    for dropped in (first, second):
        deviation = (p * (1 - p)) ** 0.5
        assert (dropped == 0).float().mean().item() == pytest.approx(p, abs=5 * deviation / 64 / 8**0.5)
        for along, among in ((0, 64), (1, 512)):
            share = (dropped == 0).float().mean(along)
            assert (share - p).abs().max() < 5 * deviation / among**0.5
        assert dropped.mean().item() == pytest.approx(1.0, abs=0.02)
        zeros = dropped == 0
        for apart in (*range(1, 8), 16):  # the components that share a draw
            together = (zeros[:, apart:] & zeros[:, :-apart]).float().mean().item()
            assert together == pytest.approx(p * p, abs=0.01)
    both = ((first == 0) & (second == 0)).float().mean().item()
    assert both == pytest.approx(p * p, abs=0.01)


@pytest.mark.parametrize("dtype", list(CLOSE), ids=str)
@pytest.mark.parametrize("order", [PostNorm, PreNorm])
def test_a_residual_takes_the_kernel_and_computes_the_same(
    order: type[Residual], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    torch.manual_seed(1)
    # so seldom that it rounds to never, yet not switched off
    around = order(LayerNorm(24), Dropout(2**-30)).to(device, dtype)
    torch.nn.init.normal_(around.norm.weight)
    inputs = [torch.randn(2, 5, 24, device=device, dtype=dtype, requires_grad=True) for _ in range(2)]
    above = torch.randn(2, 5, 24, device=device).to(dtype)
    wide = copy.deepcopy(around).float(), [each.detach().float().requires_grad_() for each in inputs]
    results = []
    # the plain path in float32: in bfloat16 it would round on the way, which the kernel does at its end
    for backend, (own, given) in ((lambda *_tensors: None, wide), (kernels.backend, (around, inputs))):
        monkeypatch.setattr(kernels, "backend", backend)
        left = own.leave(*given, None)
        usable = own is around
        assert ("Add" in type(left.grad_fn).__name__ and "Backward0" not in type(left.grad_fn).__name__) is usable
        weights = list(own.parameters()) if order is PostNorm else []
        results.append([left, *torch.autograd.grad(left, [*given, *weights], above.to(left.dtype))])
    torch.testing.assert_close(results[1], [each.to(dtype) for each in results[0]], **CLOSE[dtype])


@pytest.mark.parametrize("norm", [BatchNorm(24), NoNorm()], ids=["batch", "none"])
def test_other_norms_and_no_skip_take_the_plain_path(
    norm: torch.nn.Module, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    backend = kernels.backend
    monkeypatch.setattr(kernels, "backend", lambda *_tensors: None)
    x, output = (torch.randn(2, 5, 24, device=device) for _ in range(2))
    arounds = [PostNorm(norm, Dropout(0.0)).to(device), PostNorm(LayerNorm(24), Dropout(0.0), skip=False).to(device)]
    wanted = [around.leave(x, output, None) for around in arounds]
    monkeypatch.setattr(kernels, "backend", backend)
    torch.testing.assert_close([around.leave(x, output, None) for around in arounds], wanted)
