"""Position-wise feed-forward network (Section 3.3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heedful import kernels
from heedful.kernels.feed_forward import rectified_linear
from heedful.kernels.product import linear, multiplies, product_dtype
from heedful.model.linear import Linear


class FeedForward(nn.Module):
    """FFN(x) = max(0, xW_1 + b_1)W_2 + b_2 (equation 2), the same at every position."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.inner = Linear(d_model, d_ff)
        self.outer = Linear(d_ff, d_model)

    def forward(self, x: Float[Tensor, "*positions d_model"]) -> Float[Tensor, "*positions d_model"]:
        """Position by position."""
        output: Tensor = self.outer(self._hidden(x))
        return output

    def _hidden(self, x: Tensor) -> Tensor:
        """max(0, xW_1 + b_1)."""
        if not self.training:
            return torch.relu_(self.inner(x))
        weight, bias = self.inner.weight, self.inner.bias
        if multiplies(x):
            return linear(x, weight, bias, rectified=True)
        x = x.to(product_dtype(x))
        if kernels.backend(x) is None:
            return torch.relu_(self.inner(x))
        return rectified_linear(x, weight.to(x.dtype), bias.to(x.dtype))
