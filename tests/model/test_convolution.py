"""Convolutions against their sums, written with loops."""

import pytest
import torch

from heedful.model.convolution import Convolution, SeparableConvolution

BATCH, LENGTH, D = 2, 13, 5


@pytest.mark.parametrize("dilation", [1, 2, 5, 17])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_convolution_is_its_sum(k: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer, x = Convolution(D, k, dilation), torch.randn(BATCH, LENGTH, D)
    W, bias = layer.convolution.weight, layer.convolution.bias  # W: [d_model, d_model, k]
    y = layer(x)
    for t in range(LENGTH):
        expected = bias.expand(BATCH, D)
        for j in range(k):
            at = t + (j - (k - 1) // 2) * dilation
            if 0 <= at < LENGTH:
                expected = expected + x[:, at] @ W[:, :, j].T
        torch.testing.assert_close(y[:, t], expected, atol=1e-5, rtol=1e-5)


def test_separable_convolution_mixes_positions_and_components_one_after_the_other() -> None:
    torch.manual_seed(0)
    layer, x = SeparableConvolution(D, 3), torch.randn(BATCH, LENGTH, D)
    w, b = layer.over_positions.weight[:, 0], layer.over_positions.bias  # w: [d_model, k]
    y = layer(x)
    for t in range(LENGTH):
        mixed = b + sum(x[:, t + j] * w[:, 1 + j] for j in (-1, 0, 1) if 0 <= t + j < LENGTH)
        expected = mixed @ layer.over_components.weight.T + layer.over_components.bias
        torch.testing.assert_close(y[:, t], expected, atol=1e-5, rtol=1e-5)
