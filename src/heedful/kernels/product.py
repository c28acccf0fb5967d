"""Products of matrices, and linear maps: PyTorch's, or in bfloat16 on a CPU our own.

oneDNN, which PyTorch asks for the latter, compiles a kernel for every shape, and batches differ in shape. Ours lay both
factors out in any case, so that weights are made narrow on the way and their gradients are float32 from the start.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful import kernels
from heedful.kernels import cpu

Right = Tensor | cpu.Panels
"""A right factor, `[inner, columns]`."""


def product_dtype(x: Tensor) -> torch.dtype:
    """Autocast's where it is on, which a function with its own gradient has to ask for."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


def multiplies(x: Tensor) -> bool:
    """Whether products with x are ours."""
    return x.is_cpu and product_dtype(x) == torch.bfloat16 and kernels.backend(x) is not None and cpu.multiplies()


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, rectified: bool = False) -> Tensor:
    """xW^T + b, `rectified` max(0, xW^T + b); x `[..., in]`, weight `[out, in]`, bias `[out]`."""
    output: Tensor
    if torch.is_grad_enabled() and x.numel():
        if multiplies(x):
            output = _Linear.apply(x, weight, bias, rectified)
            return output
        if bias is not None and (rectified or x.is_cuda):
            dtype = product_dtype(x)
            x = x.to(dtype)
            if backend := kernels.backend(x):
                output = _LinearWithBias.apply(x, weight.to(dtype), bias.to(dtype), rectified, backend)
                return output
    output = F.linear(x, weight, bias)
    return torch.relu_(output) if rectified else output


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, rectified: bool) -> Tensor:
        rows = x.reshape(-1, x.size(-1)).bfloat16()
        output = rows.new_empty(*x.shape[:-1], len(weight))  # itself, not a view of it: it may be changed in place
        hidden = cpu.product(rows, weight.T, rows.dtype, bias=bias, rectified=rectified, out=output.view(len(rows), -1))
        ctx.save_for_backward(rows, weight, bias, hidden if rectified else None)
        ctx.shape, ctx.dtype = x.shape, x.dtype
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, bias, hidden = ctx.saved_tensors
        grad, sums = grad.reshape(len(rows), -1), None
        if hidden is not None:
            grad, sums = cpu.rectified(grad.contiguous(), hidden)
        elif bias is not None:
            sums = cpu.row_sums(grad)
        for_x, for_weight, *_ = ctx.needs_input_grad
        x_grad = cpu.product(grad, weight, torch.bfloat16).view(ctx.shape).to(ctx.dtype) if for_x else None
        weight_grad = cpu.product(grad.T, rows, weight.dtype) if for_weight else None
        return x_grad, weight_grad, None if bias is None or sums is None else sums.to(bias.dtype), None


class _LinearWithBias(torch.autograd.Function):
    """By PyTorch's products; ReLU's mask and the sum that the bias wants are one pass more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, rectified: bool, backend: kernels.Backend) -> Tensor:
        rows = x.reshape(-1, x.size(-1))
        output = rows.new_empty(*x.shape[:-1], len(weight))  # itself, not a view of it, as above
        # in cuBLASLt's product ReLU costs nothing
        product = torch._addmm_activation if rectified else torch.addmm
        product(bias, rows, weight.T, out=output.view(len(rows), -1))
        ctx.save_for_backward(rows, weight, output if rectified else None)
        ctx.shape, ctx.backend = x.shape, backend
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, hidden = ctx.saved_tensors
        grad = grad.reshape(len(rows), -1)
        if hidden is None:
            sums = (grad.new_ones(1, len(grad)) @ grad).squeeze(0)  # a GPU's sum takes three times as long
        else:
            grad, sums = ctx.backend.rectified(grad.contiguous(), hidden.view_as(grad))
        for_x, for_weight, *_ = ctx.needs_input_grad
        x_grad = (grad @ weight).view(ctx.shape) if for_x else None
        return x_grad, grad.T @ rows if for_weight else None, sums.to(grad.dtype), None, None


def both_ways(matrix: Tensor, like: Tensor) -> tuple[Right, Right]:
    """Its transpose and itself as right factors of many products with narrow or wide tensors as `like`."""
    if multiplies(like):
        return cpu.lay_out(matrix.T), cpu.lay_out(matrix)
    matrix = matrix.to(like.dtype)
    return matrix.T, matrix


def multiply(left: Tensor, right: Right, out: Tensor | None = None) -> Tensor:
    """left @ right, of the left one's type."""
    if isinstance(right, Tensor):
        return torch.mm(left, right, out=out)
    return cpu.product(left, right, left.dtype, out=out)


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, whatever the precision of the factors."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    elif multiplies(left):
        cpu.product(left, right, total.dtype, out=total, added=True)
    else:
        total.add_(left @ right)
