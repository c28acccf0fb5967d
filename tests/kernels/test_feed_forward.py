"""The feed-forward network's inner map with its ReLU against PyTorch's."""

import pytest
import torch

from heedful import kernels
from heedful.kernels.feed_forward import rectified_linear
from heedful.model.feed_forward import FeedForward


@pytest.mark.parametrize(("rows", "width"), [(1, 4), (7, 130), (67, 129)])
def test_rectified_linear_and_its_gradients(rows: int, width: int, device: str) -> None:
    torch.manual_seed(1)
    x, weight, bias = (
        torch.randn(shape, device=device, requires_grad=True) for shape in ((2, rows, 24), (width, 24), (width,))
    )
    found, wanted = rectified_linear(x, weight, bias), torch.relu(torch.nn.functional.linear(x, weight, bias))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    above = torch.randn_like(wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, (x, weight, bias), above),
        torch.autograd.grad(wanted, (x, weight, bias), above),
        rtol=1e-5,
        atol=2e-5,
    )


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
