"""What surrounds a sublayer: dropout of its output, sum with the stream, and LayerNorm, in one pass.

Which components are zero follows from a seed and their place, so backward draws them anew instead of reading them. The
seed is a tensor from PyTorch's generator for the device: a CUDA graph that is replayed draws another one.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful import kernels

LEVELS = 1 << 16
"""Components are dropped by 16 random bits each."""


def add_norm(x: Tensor, output: Tensor, weight: Tensor, bias: Tensor, epsilon: float, dropped: int) -> Tensor:
    """LayerNorm(x + dropout(output)); `dropped` of `LEVELS` components become zero.

    Shapes: x and output `[..., d_model]`, weight and bias `[d_model]`; the statistics are computed in float32.
    """
    normed: Tensor = _AddNorm.apply(x, output, weight, bias, epsilon, dropped)
    return normed


def add_dropout(x: Tensor, output: Tensor, dropped: int) -> Tensor:
    """x + dropout(output), of one shape; `dropped` of `LEVELS` components become zero."""
    added: Tensor = _AddDropout.apply(x, output, dropped)
    return added


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, output: Tensor, weight: Tensor, bias: Tensor, epsilon: float, dropped: int
    ) -> Tensor:
        rows, inner, seed = _rows(x), _rows(output), _seed(x)
        ctx.backend = _backend(x, output)
        normed, *statistics = ctx.backend.add_norm(rows, inner, weight, bias, epsilon, seed, dropped)
        ctx.save_for_backward(rows, inner, weight, *statistics, seed)
        ctx.shape, ctx.dropped = x.shape, dropped
        result: Tensor = normed.view(x.shape)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, weight, mean, scale, seed = ctx.saved_tensors
        x_grad, output_grad, sums = ctx.backend.add_norm_backward(
            (rows, inner, _rows(grad)), weight, (mean, scale), seed, ctx.dropped
        )
        weight_grad, bias_grad = sums.to(weight.dtype)
        return x_grad.view(ctx.shape), output_grad.view(ctx.shape), weight_grad, bias_grad, None, None


class _AddDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, dropped: int) -> Tensor:
        seed = _seed(x)
        ctx.save_for_backward(seed)
        ctx.dropped, ctx.dtypes, ctx.backend = dropped, (x.dtype, output.dtype), _backend(x, output)
        dtype = torch.promote_types(*ctx.dtypes)
        added: Tensor = ctx.backend.add_dropout(_rows(x).contiguous(), _rows(output).contiguous(), seed, dropped, dtype)
        return added.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (seed,) = ctx.saved_tensors
        x_dtype, output_dtype = ctx.dtypes
        rows = _rows(grad).contiguous()
        output_grad = ctx.backend.add_dropout(None, rows, seed, ctx.dropped, output_dtype)
        return grad.to(x_dtype), output_grad.view(grad.shape), None


def _backend(x: Tensor, output: Tensor) -> kernels.Backend:
    backend = kernels.backend(x, output)
    assert backend is not None  # who calls has asked
    return backend


def _seed(like: Tensor) -> Tensor:
    return torch.randint(2**63 - 1, (1,), device=like.device)


def _rows(tensor: Tensor) -> Tensor:
    """`[..., width]` → `[rows, width]`, the components of a row side by side."""
    rows = tensor.reshape(-1, tensor.size(-1))
    return rows if rows.stride(1) == 1 else rows.contiguous()
