"""Gradients of a linear map's bias, and of the ReLU behind it: one pass over what comes from above."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _COLUMNS = 16, 128
"""Of a tile; a program walks down its columns."""
_PROGRAMS = 1056
"""In all, eight for each of an H100's processors; those that share a column of tiles have sums of their own."""


def rectified(grad: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient where hidden is positive, and its sum over rows."""
    masked = torch.empty_like(grad)
    return masked, _summed(grad, hidden, masked)


def row_sums(each: Tensor) -> Tensor:
    """The sum of all rows `[rows, width]`, float32."""
    return _summed(each if each.stride(1) == 1 else each.contiguous())


def _summed(grad: Tensor, hidden: Tensor | None = None, masked: Tensor | None = None) -> Tensor:
    count, width = grad.shape
    tiles = triton.cdiv(width, _COLUMNS)
    programs = max(1, min(_PROGRAMS // tiles, triton.cdiv(count, _ROWS)))
    sums = torch.empty(programs, width, dtype=torch.float32, device=grad.device)
    with torch.cuda.device_of(grad):
        _sum[(tiles, programs)](
            *(grad, grad.stride(0), hidden, masked, sums, count, width),
            rectify=hidden is not None,
            rows=_ROWS,
            columns=_COLUMNS,
            num_warps=4,
        )
    return sums.sum(0)


@triton.jit(do_not_specialize=["count"])
def _sum(
    grad, stride, hidden, masked, sums, count, width: tl.constexpr,
    rectify: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0) * columns + tl.arange(0, columns)
    program = tl.program_id(1).to(tl.int64)
    total = tl.zeros([rows, columns], tl.float32)
    start = program * rows
    while start < count:
        row = start + tl.arange(0, rows)
        inside = (row < count)[:, None] & (column < width)[None, :]
        above = tl.load(grad + row[:, None] * stride + column[None, :], mask=inside, other=0.0)
        if rectify:
            places = row[:, None] * width + column[None, :]
            above = tl.where(tl.load(hidden + places, mask=inside, other=0.0) > 0.0, above, 0.0)
            tl.store(masked + places, above, mask=inside)
        total += above.to(tl.float32)
        start += tl.num_programs(1) * rows
    tl.store(sums + program * width + column, tl.sum(total, 0), mask=column < width)
