"""max(0, xW^T + b) whose gradient takes one pass: ReLU's mask and the sum that the bias wants."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful import kernels
from heedful.kernels.product import linear, multiplies, product_dtype


def rectified_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """max(0, xW^T + b). Shapes: x `[..., in]`, weight `[out, in]`, bias `[out]`."""
    if multiplies(x):
        return linear(x, weight, bias, rectified=True)
    x, backend = x.to(product_dtype(x)), kernels.backend(x)
    if backend is None:
        return torch.relu_(F.linear(x, weight, bias))
    hidden: Tensor = _RectifiedLinear.apply(x, weight.to(x.dtype), bias.to(x.dtype), backend)
    return hidden


class _RectifiedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, backend: kernels.Backend) -> Tensor:
        rows = x.reshape(-1, x.size(-1))
        hidden = torch._addmm_activation(bias, rows, weight.T)  # of cuBLASLt, ReLU costs nothing
        ctx.save_for_backward(rows, weight, hidden)
        ctx.shape, ctx.backend = x.shape, backend
        return hidden.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight, hidden = ctx.saved_tensors
        grad, bias_grad = ctx.backend.rectified(grad.reshape(hidden.shape).contiguous(), hidden)
        return (grad @ weight).view(ctx.shape), grad.T @ rows, bias_grad.to(grad.dtype), None
