"""max(0, xW^T + b) whose ReLU costs no pass of its own.

Forward it is computed as the product is written (by cuBLASLt); backward one pass over the gradient takes its mask and
sums the bias's.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _COLUMNS = 16, 128
"""Of a tile; a program walks down its columns."""
_PROGRAMS = 64
"""That share a column of tiles; each has sums of its own."""


def rectified_linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """max(0, xW^T + b). Shapes: x `[..., in]`, weight `[out, in]`, bias `[out]`, all of one dtype."""
    hidden: Tensor = _RectifiedLinear.apply(x, weight, bias)
    return hidden


class _RectifiedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        rows = x.reshape(-1, x.size(-1))
        hidden = torch._addmm_activation(bias, rows, weight.T)
        ctx.save_for_backward(rows, weight, hidden)
        ctx.shape = x.shape
        return hidden.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        rows, weight, hidden = ctx.saved_tensors
        grad, bias_grad = _masked(grad.reshape(hidden.shape).contiguous(), hidden)
        return (grad @ weight).view(ctx.shape), grad.T @ rows, bias_grad


def _masked(grad: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient where hidden is positive, else 0, `[rows, width]`, and its sum over rows."""
    count, width = hidden.shape
    masked = torch.empty_like(grad)
    programs = min(_PROGRAMS, triton.cdiv(count, _ROWS))
    sums = torch.empty(programs, width, dtype=torch.float32, device=grad.device)
    with torch.cuda.device_of(grad):
        _mask[(triton.cdiv(width, _COLUMNS), programs)](
            *(grad, hidden, masked, sums, count, width), rows=_ROWS, columns=_COLUMNS, num_warps=4
        )
    return masked, sums.sum(0).to(grad.dtype)


@triton.jit(do_not_specialize=["count"])
def _mask(grad, hidden, masked, sums, count, width: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr):
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    program = tl.program_id(1).to(tl.int64)
    total = tl.zeros([rows, columns], tl.float32)
    start = program * rows
    while start < count:
        row = start + tl.arange(0, rows)
        inside = (row < count)[:, None] & (column < width)[None, :]
        places = row[:, None] * width + column[None, :]
        positive = tl.load(hidden + places, mask=inside, other=0.0) > 0.0
        above = tl.where(positive, tl.load(grad + places, mask=inside, other=0.0), 0.0)
        total += above.to(tl.float32)
        tl.store(masked + places, above, mask=inside)
        start += tl.num_programs(1) * rows
    tl.store(sums + program * width + column, tl.sum(total, 0), mask=column < width)
