"""Normalisation as an object, called as `norm(x, mask)`; the mask is True on real tokens, None where all are.

The lecture compares LayerNorm, which looks at one position, with BatchNorm, which looks at the whole batch
and therefore has to know what is padding.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn


class LayerNorm(nn.LayerNorm):
    """Mean 0 and variance 1 over the d_model components of each position (Ba et al. 2016), then gain and bias."""

    def forward(
        self, input: Float[Tensor, "*positions d_model"], mask: Bool[Tensor, "*positions"] | None = None
    ) -> Float[Tensor, "*positions d_model"]:
        """Needs no mask: positions do not mix.

        Autocast on a GPU would make the stream float32 here; the kernel computes in float32 within anyway.
        """
        if not input.is_cuda:
            return super().forward(input)
        with torch.autocast("cuda", enabled=False):
            weight, bias = self.weight.to(input.dtype), self.bias.to(input.dtype)
            return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)


class BatchNorm(nn.Module):
    """Mean 0 and variance 1 of each component over the batch's real tokens (Ioffe & Szegedy 2015).

    Training uses the batch's own statistics and keeps running ones (with the unbiased variance) for
    evaluation. Padding takes part in neither, so the amount of padding changes nothing at real positions.
    In training a decoder position therefore sees later ones: through these statistics alone.
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, d_model: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.register_buffer("running_mean", torch.zeros(d_model))
        self.register_buffer("running_variance", torch.ones(d_model))

    def forward(
        self, x: Float[Tensor, "*positions d_model"], mask: Bool[Tensor, "*positions"] | None = None
    ) -> Float[Tensor, "*positions d_model"]:
        """Normalises with the batch's statistics in training, with the running ones in evaluation."""
        mean, variance = self.running_mean, self.running_variance
        if self.training:
            mean, variance = self._statistics(x, mask)
        normed = (x - mean) * torch.rsqrt(variance + self.eps) * self.weight + self.bias
        return normed.to(x.dtype)

    def _statistics(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        tokens = x.reshape(-1, x.size(-1)).float()
        real = x.new_ones(len(tokens), 1) if mask is None else mask.reshape(-1, 1).float()
        count = real.sum().clamp(min=1.0)
        mean = (tokens * real).sum(0) / count
        variance = ((tokens - mean).square() * real).sum(0) / count
        with torch.no_grad():
            unbiased = variance * count / (count - 1.0).clamp(min=1.0)
            for running, new in ((self.running_mean, mean), (self.running_variance, unbiased)):
                running.lerp_(new.to(running.dtype), self.momentum)
        return mean, variance


class NoNorm(nn.Module):
    """Leaves everything as it is."""

    def forward(
        self, x: Float[Tensor, "*positions d_model"], mask: Bool[Tensor, "*positions"] | None = None
    ) -> Float[Tensor, "*positions d_model"]:
        """x."""
        return x
