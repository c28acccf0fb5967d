"""The feed-forward network's ReLU, backward: its mask and the bias's gradient in one pass."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _COLUMNS = 32, 128
"""Of a tile; a program walks down its columns."""
_PROGRAMS = 1056
"""In all, eight for each of an H100's processors; those that share a column of tiles have sums of their own."""


def rectified(grad: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient where hidden is positive, and its sum over rows."""
    count, width = hidden.shape
    masked = torch.empty_like(grad)
    tiles = triton.cdiv(width, _COLUMNS)
    programs = max(1, min(_PROGRAMS // tiles, triton.cdiv(count, _ROWS)))
    sums = torch.empty(programs, width, dtype=torch.float32, device=grad.device)
    with torch.cuda.device_of(grad):
        _mask[(tiles, programs)](*(grad, hidden, masked, sums, count, width), rows=_ROWS, columns=_COLUMNS, num_warps=4)
    return masked, sums.sum(0)


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
