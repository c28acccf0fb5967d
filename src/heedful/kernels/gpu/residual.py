"""Dropout of a sublayer's output, sum with the stream, and LayerNorm, a few rows a program."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_TILE = 2048
"""Components that a program holds at a time, a row at least; eight of them share one draw of Philox."""
_PROGRAMS = 396
"""That share the rows in backward, as many as an H100 has room for at once; each has sums of its own."""


def add_norm(
    x: Tensor, output: Tensor, weight: Tensor, bias: Tensor, epsilon: float, seed: Tensor, dropped: int
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm(x + dropout(output)), and what it divided by."""
    count, width = x.shape
    normed = torch.empty(count, width, dtype=torch.promote_types(x.dtype, output.dtype), device=x.device)
    mean, scale = torch.empty(2, count, dtype=torch.float32, device=x.device)
    shape = _shape(width)
    with torch.cuda.device_of(x):
        _forward[(triton.cdiv(count, shape["block_rows"]),)](
            *(x, x.stride(0), output, output.stride(0), normed, weight.contiguous(), bias.contiguous()),
            *(mean, scale, seed, count, epsilon, dropped, width),
            **shape,
        )
    return normed, mean, scale


def add_norm_backward(
    read: tuple[Tensor, Tensor, Tensor],
    weight: Tensor,
    statistics: tuple[Tensor, Tensor],
    seed: Tensor,
    dropped: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Its gradients."""
    x, output, grad = read
    count, width = x.shape
    x_grad, output_grad = (torch.empty(count, width, dtype=each.dtype, device=each.device) for each in (x, output))
    shape = _shape(width)
    programs = min(_PROGRAMS, triton.cdiv(count, shape["block_rows"]))
    sums = torch.empty(programs, 2, width, dtype=torch.float32, device=x.device)
    with torch.cuda.device_of(x):
        _backward[(programs,)](
            *(x, x.stride(0), output, output.stride(0), grad, grad.stride(0), x_grad, output_grad),
            *(weight.contiguous(), *statistics, sums, seed, count, dropped, width),
            **shape,
        )
    return x_grad, output_grad, sums.sum(0)


def add_dropout(x: Tensor | None, output: Tensor, seed: Tensor, dropped: int, dtype: torch.dtype) -> Tensor:
    """x + dropout(output)."""
    result = torch.empty(output.shape, dtype=dtype, device=output.device)
    stream = output if x is None else x
    with torch.cuda.device_of(output):
        _drop[(triton.cdiv(output.numel(), _TILE),)](
            *(stream, output, result, seed, output.numel(), dropped), add=x is not None, block=_TILE, num_warps=4
        )
    return result


def _shape(width: int) -> dict[str, int]:
    columns = max(16, triton.next_power_of_2(width))
    rows = max(1, _TILE // columns)
    return {"block_rows": rows, "block_columns": columns, "num_warps": min(16, max(4, rows * columns // 512))}


@triton.jit
def _mask(seed, group, dropped: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr):
    """0 or the others' scale for `[rows, columns]` components; `group` numbers their eights, `[rows, columns / 8]`."""
    if dropped == 0:
        return tl.full([rows, columns], 1.0, tl.float32)
    a, b, c, d = tl.randint4x(tl.load(seed), group)
    words = tl.join(tl.join(a, b), tl.join(c, d))
    bits = tl.reshape(tl.join(words & 0xFFFF, words >> 16), [rows, columns])
    return tl.where(bits >= dropped, 65536.0 / (65536 - dropped), 0.0)


@triton.jit
def _sum(
    x, stride, output, output_stride, seed, row, column, inside,
    dropped: tl.constexpr, block_rows: tl.constexpr, block_columns: tl.constexpr,
):  # fmt: skip
    """x + dropout(output), and the mask."""
    z = tl.load(x + row[:, None] * stride + column[None, :], mask=inside, other=0.0).to(tl.float32)
    inner = tl.load(output + row[:, None] * output_stride + column[None, :], mask=inside, other=0.0).to(tl.float32)
    eighth: tl.constexpr = block_columns // 8
    group = row[:, None] * eighth + tl.arange(0, eighth)[None, :]
    scaled = _mask(seed, group, dropped, block_rows, block_columns)
    return z + inner * scaled, scaled


@triton.jit(do_not_specialize=["count"])
def _forward(
    x, stride, output, output_stride, normed, weight, bias, mean, scale, seed, count, epsilon,
    dropped: tl.constexpr, width: tl.constexpr, block_rows: tl.constexpr, block_columns: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64) * block_rows + tl.arange(0, block_rows)
    column = tl.arange(0, block_columns)
    real = column < width
    inside = (row < count)[:, None] & real[None, :]
    z, _ = _sum(x, stride, output, output_stride, seed, row, column, inside, dropped, block_rows, block_columns)
    average = tl.sum(z, 1) / width
    z = tl.where(real[None, :], z - average[:, None], 0.0)
    inverse = tl.rsqrt(tl.sum(z * z, 1) / width + epsilon)
    gain = tl.load(weight + column, mask=real, other=0.0).to(tl.float32)
    shift = tl.load(bias + column, mask=real, other=0.0).to(tl.float32)
    y = z * inverse[:, None] * gain[None, :] + shift[None, :]
    tl.store(normed + row[:, None] * width + column[None, :], y.to(normed.dtype.element_ty), mask=inside)
    tl.store(mean + row, average, mask=row < count)
    tl.store(scale + row, inverse, mask=row < count)


@triton.jit(do_not_specialize=["count"])
def _backward(
    x, stride, output, output_stride, grad, grad_stride, x_grad, output_grad, weight, mean, scale, sums, seed, count,
    dropped: tl.constexpr, width: tl.constexpr, block_rows: tl.constexpr, block_columns: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, block_columns)
    real = column < width
    gain = tl.load(weight + column, mask=real, other=0.0).to(tl.float32)
    weight_sum = tl.zeros([block_rows, block_columns], tl.float32)
    bias_sum = tl.zeros([block_rows, block_columns], tl.float32)
    start = program * block_rows
    while start < count:
        row = start + tl.arange(0, block_rows)
        inside = (row < count)[:, None] & real[None, :]
        z, scaled = _sum(
            x, stride, output, output_stride, seed, row, column, inside, dropped, block_rows, block_columns
        )
        above = tl.load(grad + row[:, None] * grad_stride + column[None, :], mask=inside, other=0.0).to(tl.float32)
        average = tl.load(mean + row, mask=row < count, other=0.0)
        inverse = tl.load(scale + row, mask=row < count, other=0.0)
        z = tl.where(real[None, :], (z - average[:, None]) * inverse[:, None], 0.0)
        weight_sum += above * z
        bias_sum += above
        above *= gain[None, :]
        # what shifts or stretches the whole row changes nothing
        along = tl.sum(above * z, 1) / width
        above = (above - (tl.sum(above, 1) / width)[:, None] - z * along[:, None]) * inverse[:, None]
        places = row[:, None] * width + column[None, :]
        tl.store(x_grad + places, above.to(x_grad.dtype.element_ty), mask=inside)
        tl.store(output_grad + places, (above * scaled).to(output_grad.dtype.element_ty), mask=inside)
        start += tl.num_programs(0) * block_rows
    own = sums + program * 2 * width + column
    tl.store(own, tl.sum(weight_sum, 0), mask=real)
    tl.store(own + width, tl.sum(bias_sum, 0), mask=real)


@triton.jit
def _drop(x, output, result, seed, count, dropped: tl.constexpr, add: tl.constexpr, block: tl.constexpr):
    start = tl.program_id(0).to(tl.int64) * block
    place = start + tl.arange(0, block)[None, :]
    inside = place < count
    mask = _mask(seed, start // 8 + tl.arange(0, block // 8)[None, :], dropped, 1, block)
    z = tl.load(output + place, mask=inside, other=0.0).to(tl.float32) * mask
    if add:
        z += tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    tl.store(result + place, z.to(result.dtype.element_ty), mask=inside)
