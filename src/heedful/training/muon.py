"""Muon (Jordan et al. 2024): momentum whose matrices are made orthogonal, beside Adam for everything else.

The update of a matrix is the nearest orthogonal one to its momentum, so that no direction of the gradient is
neglected for being small. Scaled as in Liu et al. 2025 (arXiv 2502.16982, equation 4), it is as large as
Adam's: one learning rate serves both.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from heedful.kernels import cpu
from heedful.kernels.product import multiplies

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of Jordan's quintic Newton-Schulz iteration, tuned for a steep start: singular values end within 0.7 to 1.2."""
_ITERATIONS = 5
_ADAM_RMS = 0.2
"""Root mean square of Adam's updates, divided by the learning rate (Liu et al. 2025)."""


class Muon(torch.optim.Optimizer):
    """Muon for `matrices`, Adam for `others`; the state of both stands in `state`, by parameter."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        others: Iterable[Tensor],
        *,
        momentum: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """`dtype` is the iteration's: it only has to find the right directions, and bfloat16 does."""
        matrices, others = list(matrices), list(others)
        groups = [{"params": matrices}, {"params": others}]
        super().__init__(groups, {"lr": 0.0, "momentum": momentum, "weight_decay": weight_decay})
        self.adam = torch.optim.Adam(others, lr=0.0, betas=betas, eps=eps, fused=True)
        self.adam.state = self.state
        self.dtype = dtype
        begin_adam(self.adam)
        for matrix in matrices:
            self.state[matrix]["momentum"] = torch.zeros_like(matrix)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One update from the gradients that stand at the parameters."""
        own, rest = self.param_groups
        self.adam.param_groups[0]["lr"] = rest["lr"]
        self.adam.step()
        parameters = [parameter for parameter in own["params"] if parameter.grad is not None]
        gradients = [parameter.grad for parameter in parameters]
        moments = [self.state[parameter]["momentum"] for parameter in parameters]
        share = 1 - own["momentum"]
        torch._foreach_lerp_(moments, gradients, share)
        nesterov = torch._foreach_lerp(gradients, moments, own["momentum"])
        if own["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - own["lr"] * own["weight_decay"])
        updates = _orthogonal(nesterov, self.dtype)
        torch._foreach_mul_(updates, own["lr"])  # which may be a tensor
        torch._foreach_sub_(parameters, updates)


def begin_adam(optimizer: torch.optim.Adam) -> None:
    """Makes the state of a fused Adam, whose first step would put it into the gaps between a batch's tensors."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": parameter.new_zeros((), dtype=torch.float32),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def _orthogonal(matrices: Sequence[Tensor], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Each matrix block by block as near to orthogonal as the iteration gets, with Adam's root mean square.

    A matrix is cut into blocks that are as near to square as its sides divide: W^Q, W^K and W^V of one
    projection, or the gates of an LSTM, are maps of their own.
    """
    blocks = [_cut(matrix) for matrix in matrices]
    by_shape = defaultdict(list)
    for index, block in enumerate(blocks):
        by_shape[block.shape[1:]].append(index)
    done: dict[int, Tensor] = {}
    for (rows, columns), indices in by_shape.items():
        stacked = newton_schulz(torch.cat([blocks[index] for index in indices]).to(dtype)).float()
        scaled = torch.split(stacked * (_ADAM_RMS * max(rows, columns) ** 0.5), [len(blocks[i]) for i in indices])
        done |= dict(zip(indices, scaled, strict=True))
    return [_join(done[index], matrix) for index, matrix in enumerate(matrices)]


def newton_schulz(stacked: Tensor) -> Tensor:
    """UV^T, roughly, of each matrix USV^T of `[matrices, rows, columns]`: the quintic iteration on X / |X|."""
    tall = stacked.size(1) > stacked.size(2)
    x: Tensor = stacked.transpose(1, 2) if tall else stacked
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    if multiplies(x) and x.size(2) <= cpu.WIDEST:
        x = cpu.newton_schulz(x, _ITERATIONS, _COEFFICIENTS)
    else:
        a, b, c = _COEFFICIENTS
        for _ in range(_ITERATIONS):
            gram = torch.bmm(x, x.transpose(1, 2))
            polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
            x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.transpose(1, 2) if tall else x


def _cut(matrix: Tensor) -> Tensor:
    """[rows, columns] → [blocks, about square]."""
    rows, columns = matrix.shape
    if rows > columns and rows % columns == 0:
        return matrix.view(rows // columns, columns, columns)
    if columns > rows and columns % rows == 0:
        return matrix.view(rows, columns // rows, rows).transpose(0, 1)
    return matrix.unsqueeze(0)


def _join(blocks: Tensor, like: Tensor) -> Tensor:
    """The inverse of `_cut`."""
    rows, columns = like.shape
    return blocks.reshape(rows, columns) if rows >= columns else blocks.transpose(0, 1).reshape(rows, columns)
