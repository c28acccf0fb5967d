"""Queries or keys turned by the angles of their positions, in one pass; on CPUs only."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful import kernels


def turned(x: Tensor, angles: Tensor, positions: Tensor | None) -> Tensor | None:
    """Component i is turned together with i + d_k / 2. None where there is no kernel for it, or without
    gradients.

    Shapes: x `[batch, heads, length, d_k]`, angles `[positions, d_k]` with sine and cosine in turn, positions
    `[batch, length]`, or None where x begins at the first of the angles. The result's memory is
    `[batch, length, heads, d_k]`.
    """
    if not x.is_cpu or not torch.is_grad_enabled() or kernels.backend(x) is None:
        return None
    # [positions, d_k / 2, (sine, cosine)] → [positions, (sine, cosine), d_k / 2]
    table = angles.float().unflatten(-1, (-1, 2)).transpose(-1, -2).contiguous()
    result: Tensor = _Turned.apply(x, table, positions)
    return result


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, table: Tensor, positions: Tensor | None) -> Tensor:
        from heedful.kernels.cpu import turn

        ctx.save_for_backward(table, positions)
        return turn(x, table, positions, False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        from heedful.kernels.cpu import turn

        table, positions = ctx.saved_tensors
        return turn(grad, table, positions, True), None, None
