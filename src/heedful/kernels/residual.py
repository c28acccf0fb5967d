"""What surrounds a sublayer: dropout of its output, sum with the stream, and LayerNorm, in one pass.

Which components are zero follows from a seed and their place, so backward draws them anew instead of reading them. The
seed is a tensor on the GPU from PyTorch's generator: a CUDA graph that is replayed draws another one.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

LEVELS = 1 << 16
"""Components are dropped by 16 random bits each; eight of them share one draw of Philox."""
_TILE = 2048
"""Components that a program holds at a time, a row at least."""
_PROGRAMS = 396
"""That share the rows in backward, as many as an H100 has room for at once; each has sums of its own."""


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
        rows, inner = _rows(x), _rows(output)
        count, width = rows.shape
        normed = torch.empty(x.shape, dtype=torch.promote_types(x.dtype, output.dtype), device=x.device)
        mean, scale = torch.empty(2, count, dtype=torch.float32, device=x.device)
        seed, shape = _seed(x), _shape(width)
        with torch.cuda.device_of(x):
            _forward[(triton.cdiv(count, shape["block_rows"]),)](
                *(rows, rows.stride(0), inner, inner.stride(0), normed, weight.contiguous(), bias.contiguous()),
                *(mean, scale, seed, count, epsilon, dropped, width),
                **shape,
            )
        ctx.save_for_backward(rows, inner, weight, mean, scale, seed)
        ctx.shape, ctx.dropped = x.shape, dropped
        return normed

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, weight, mean, scale, seed = ctx.saved_tensors
        grad = _rows(grad)
        count, width = rows.shape
        x_grad, output_grad = (torch.empty(ctx.shape, dtype=each.dtype, device=each.device) for each in (rows, inner))
        shape = _shape(width)
        programs = min(_PROGRAMS, triton.cdiv(count, shape["block_rows"]))
        sums = torch.empty(programs, 2, width, dtype=torch.float32, device=rows.device)
        with torch.cuda.device_of(rows):
            _backward[(programs,)](
                *(rows, rows.stride(0), inner, inner.stride(0), grad, grad.stride(0), x_grad, output_grad),
                *(weight.contiguous(), mean, scale, sums, seed, count, ctx.dropped, width),
                **shape,
            )
        weight_grad, bias_grad = sums.sum(0).to(weight.dtype)
        return x_grad, output_grad, weight_grad, bias_grad, None, None


class _AddDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, output: Tensor, dropped: int) -> Tensor:
        seed = _seed(x)
        ctx.save_for_backward(seed)
        ctx.dropped, ctx.dtypes = dropped, (x.dtype, output.dtype)
        return _dropout(output, seed, dropped, torch.promote_types(*ctx.dtypes), x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (seed,) = ctx.saved_tensors
        x_dtype, output_dtype = ctx.dtypes
        return grad.to(x_dtype), _dropout(grad, seed, ctx.dropped, output_dtype), None


def _seed(like: Tensor) -> Tensor:
    return torch.randint(2**63 - 1, (1,), device=like.device)


def _rows(tensor: Tensor) -> Tensor:
    """`[..., width]` → `[rows, width]`, the components of a row side by side."""
    rows = tensor.reshape(-1, tensor.size(-1))
    return rows if rows.stride(1) == 1 else rows.contiguous()


def _shape(width: int) -> dict[str, int]:
    columns = max(16, triton.next_power_of_2(width))
    rows = max(1, _TILE // columns)
    return {"block_rows": rows, "block_columns": columns, "num_warps": min(16, max(4, rows * columns // 512))}


def _dropout(output: Tensor, seed: Tensor, dropped: int, dtype: torch.dtype, x: Tensor | None = None) -> Tensor:
    """dropout(output), with x added where there is one."""
    result = torch.empty(output.shape, dtype=dtype, device=output.device)
    output = output.contiguous()
    stream = output if x is None else x.contiguous()
    with torch.cuda.device_of(output):
        _drop[(triton.cdiv(output.numel(), _TILE),)](
            *(stream, output, result, seed, output.numel(), dropped), add=x is not None, block=_TILE, num_warps=4
        )
    return result


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
