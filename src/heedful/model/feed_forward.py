"""Position-wise feed-forward network (Section 3.3)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from heedful.kernels.product import linear
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
        if self.training:
            return linear(x, self.inner.weight, self.inner.bias, rectified=True)
        return torch.relu_(self.inner(x))
