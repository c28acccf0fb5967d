"""Dropout (Section 5.4), with cheap random bits on CPU.

A step of a small model on CPU spends a fifth of its time in torch's Bernoulli draws, one 64-bit number and
a division each. Sixteen bits decide just as well: four components share one draw.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from heedful.kernels.residual import LEVELS


def dropped_levels(p: float) -> int:
    """Of the 2^16 numbers that sixteen bits can be, those that mean zero; some always mean the opposite."""
    return min(round(p * LEVELS), LEVELS - 1)


class Dropout(nn.Module):
    """Zeroes each component with probability p in training and scales the others by 1 / (1 - p).

    On CPU p is rounded to a multiple of 2^-16 and the scale with it, so that the mean stays exact. The draws come
    from torch's global generator, in an order that does not depend on the number of threads. A residual
    connection does the same in a kernel of its own where there is one (`heedful.kernels.residual`).
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """x in evaluation."""
        if not self.training or self.p == 0.0:
            return x
        return x * _scaled_mask(x, self.p) if x.is_cpu else F.dropout(x, self.p)

    def extra_repr(self) -> str:
        """p."""
        return f"p={self.p}"


def _scaled_mask(x: Tensor, p: float) -> Tensor:
    """0 with probability p, else 1 / (1 - p), like x in shape and dtype."""
    dropped = dropped_levels(p)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    # all 64 bits: without bounds, random_() leaves the sign bit zero
    bits = words.random_(-(2**63), None).view(torch.int16)[: x.numel()].view(x.shape)
    mask = torch.empty_like(x, memory_format=torch.contiguous_format, requires_grad=False)
    # comparing into floats is three times as fast as into bools, which a product would have to convert
    torch.ge(bits, dropped - LEVELS // 2, out=mask)
    return mask.mul_(LEVELS / (LEVELS - dropped))
