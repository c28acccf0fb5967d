"""Convolutions over positions: the layers that Section 4 compares self-attention with. No model here is made of them.

Their weights start as torch has them: only what they cost and connect is of interest.
"""

from jaxtyping import Float
from torch import Tensor, nn


class Convolution(nn.Module):
    """y_t = sum over j of W_j x_(t + (j - (k - 1) / 2) dilation): k positions, contiguous or `dilation` apart.

    k is odd, so that they lie around t; beyond the ends stand zeros. k · n · d_model² multiply-adds.
    """

    def __init__(self, d_model: int, k: int, dilation: int = 1) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(d_model, d_model, k, padding=dilation * (k // 2), dilation=dilation)

    def forward(self, x: Float[Tensor, "batch length d_model"]) -> Float[Tensor, "batch length d_model"]:
        """As long as x."""
        y: Tensor = self.convolution(x.mT)
        return y.mT


class SeparableConvolution(nn.Module):
    """Every component over k positions by itself, then a linear map of each position (Chollet 2017).

    k · n · d_model + n · d_model² multiply-adds (Section 4, last paragraph but one).
    """

    def __init__(self, d_model: int, k: int) -> None:
        super().__init__()
        self.over_positions = nn.Conv1d(d_model, d_model, k, padding=k // 2, groups=d_model)
        self.over_components = nn.Linear(d_model, d_model)

    def forward(self, x: Float[Tensor, "batch length d_model"]) -> Float[Tensor, "batch length d_model"]:
        """As long as x."""
        y: Tensor = self.over_components(self.over_positions(x.mT).mT)
        return y
