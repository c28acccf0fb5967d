"""Linear maps whose biases' gradients, and ReLU's, a kernel computes, against PyTorch's."""

import pytest
import torch

from heedful import kernels
from heedful.kernels import product
from heedful.kernels.product import linear
from heedful.model.feed_forward import FeedForward
from tests.kernels.backends import backend_of


@pytest.mark.parametrize("rectified", [False, True])
@pytest.mark.parametrize(("rows", "width"), [(1, 4), (7, 130), (67, 129)])
def test_a_linear_map_and_its_gradients(rows: int, width: int, rectified: bool, device: str) -> None:
    torch.manual_seed(1)
    x, weight, bias = (
        torch.randn(shape, device=device, requires_grad=True) for shape in ((2, rows, 24), (width, 24), (width,))
    )
    found: torch.Tensor = product._LinearWithBias.apply(x, weight, bias, rectified, backend_of(x))
    wanted = torch.nn.functional.linear(x, weight, bias)
    wanted = torch.relu(wanted) if rectified else wanted
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    above = torch.randn(2, width, rows, device=device).transpose(1, 2)  # laid out otherwise
    torch.testing.assert_close(
        torch.autograd.grad(found, (x, weight, bias), above),
        torch.autograd.grad(wanted, (x, weight, bias), above),
        rtol=1e-5,
        atol=2e-5,
    )


def test_the_rectified_map_is_the_kernel_s_and_none_is_without_one(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight, bias = (torch.randn(shape, device=device, requires_grad=True) for shape in ((3, 8), (5, 8), (5,)))
    assert "LinearWithBias" in str(linear(x, weight, bias, rectified=True).grad_fn)
    assert ("LinearWithBias" in str(linear(x, weight, bias).grad_fn)) == x.is_cuda
    assert "LinearWithBias" not in str(linear(x, weight, None).grad_fn)
    monkeypatch.setattr(kernels, "backend", lambda *_tensors: None)
    assert "LinearWithBias" not in str(linear(x, weight, bias, rectified=True).grad_fn)


@pytest.mark.parametrize("autocast", [False, True])
def test_a_feed_forward_network_with_the_kernel_computes_the_same(
    autocast: bool, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    torch.manual_seed(1)
    network = FeedForward(24, 40).to(device)
    torch.nn.init.normal_(network.inner.bias)
    x = torch.randn(2, 5, 24, device=device, requires_grad=True)

    def results() -> list[torch.Tensor]:
        with torch.autocast(device, torch.bfloat16, enabled=autocast):
            output = network(x)
        return [output, *torch.autograd.grad(output.float().square().sum(), (x, *network.parameters()))]

    backend = kernels.backend
    monkeypatch.setattr(kernels, "backend", lambda *_tensors: None)
    wanted = results()
    monkeypatch.setattr(kernels, "backend", backend)
    found = results()
    tolerance = 5e-2 if autocast else 1e-5
    torch.testing.assert_close(found, wanted, rtol=tolerance, atol=tolerance)


def test_what_changes_its_result_in_place_may(device: str) -> None:
    """In evaluation mode the feed-forward network's ReLU does, and gradients may be asked for."""
    network, x = FeedForward(8, 16).to(device).eval(), torch.randn(2, 3, 8, device=device)
    changed = network(x)
    torch.testing.assert_close(changed, network.train()(x))
    torch.autograd.grad(changed.sum(), list(network.parameters()))
