"""Kernels for CPUs, in C++ compiled for the processor: products, short attention, rotary positions, residuals, losses.

They read float32 or bfloat16, compute in float32, and share PyTorch's threads. Every function raises MemoryError where
there is not enough for what a thread holds, and IndexError for targets or positions that there are not.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from heedful.kernels.cpu.library import Attention, Factor, Iteration, Places, Result, library
from heedful.kernels.sentences import Seen

_LARGEST, _LONGEST = 1 << 16, 1 << 11
"""Scores of a head that still stand in the cache with their gradients, and queries or keys."""
WIDEST = 1 << 11
"""Numbers that `newton_schulz` adds up at a time."""


@dataclass(frozen=True)
class Panels:
    """A right factor as `product` reads it."""

    words: Tensor
    inner: int
    columns: int


def multiplies() -> bool:
    """Whether `product` is for this processor: one that multiplies vectors of bfloat16, but has no tiles (AMX) for it,
    where oneDNN's products are the faster ones."""
    native = library()
    return native is not None and bool(native.heedful_multiplies())


def lay_out(right: Tensor) -> Panels:
    """`[inner, columns]` for many products."""
    (inner, columns), right = right.shape, _dense(right)
    words = right.new_empty(_native().heedful_words(columns, inner), dtype=torch.int32)
    _call("heedful_lay_out", _factor(right.T), columns, inner, words.data_ptr())
    return Panels(words, inner, columns)


def product(
    left: Tensor,
    right: Tensor | Panels,
    dtype: torch.dtype,
    *,
    bias: Tensor | None = None,
    rectified: bool = False,
    out: Tensor | None = None,
    added: bool = False,
) -> Tensor:
    """left `[rows, inner]` @ right `[inner, columns]`, both made narrow, sums in float32; then plus `bias`
    `[columns]`, and negative numbers 0. In `out`, if it is given; `added` to it, where it is float32."""
    panels = right if isinstance(right, Panels) else lay_out(right)
    (rows, inner), left = left.shape, _dense(left)
    if inner != panels.inner:
        raise ValueError(f"{inner} columns cannot meet {panels.inner} rows")
    result = left.new_empty(rows, panels.columns, dtype=dtype) if out is None else out
    shift = None if bias is None else _wide(bias)
    places = *_rows(result), None if shift is None else shift.data_ptr()
    wanted = Result(*places, _narrow(result), rectified, added)
    _call("heedful_product", _factor(left), panels.words.data_ptr(), wanted, rows, panels.columns, inner)
    return result


def newton_schulz(x: Tensor, steps: int, coefficients: tuple[float, float, float]) -> Tensor:
    """X ← aX + (bA + cA²)X with A = XX^T, so many times; x `[matrices, rows, columns]` of bfloat16, with no more rows
    than columns, and of these at most `WIDEST`."""
    result = x.contiguous().clone()
    matrices, rows, columns = result.shape
    _call("heedful_newton_schulz", Iteration(rows, columns, steps, *coefficients), result.data_ptr(), matrices)
    return result


def fits(queries: int, keys: int, d_k: int, d_v: int, by_query: bool) -> bool:  # noqa: ARG001 any mask will do
    """Scores of one head stay in the cache. A step's one query is not worth the arranging of its keys."""
    short = queries * keys <= _LARGEST and max(queries, keys) <= _LONGEST
    return short and queries > 1 and max(d_k, d_v) <= 1024


def attend(read: Sequence[Tensor], written: Tensor, seen: Seen, causal: bool) -> None:
    """softmax(QK^T / sqrt(d_k))V."""
    _attend("heedful_attention", read, [written], seen, causal)


def attend_backward(read: Sequence[Tensor], written: Sequence[Tensor], seen: Seen, causal: bool) -> None:
    """Its gradients."""
    _attend("heedful_attention_backward", read, written, seen, causal)


def turn(x: Tensor, table: Tensor, positions: Tensor | None, back: bool) -> Tensor:
    """x turned by the angles of its positions, or back."""
    x = x if x.stride(3) == 1 else x.contiguous()
    batch, heads, length, width = x.shape
    result = x.new_empty(batch, length, heads, width).transpose(1, 2)
    places = None if positions is None else _within(positions, len(table))
    _call(
        "heedful_turn",
        *(_places(x, result), *x.shape, table.data_ptr(), None if places is None else places.data_ptr(), back),
        _narrow(x),
    )
    return result


def add_norm(
    x: Tensor, output: Tensor, weight: Tensor, bias: Tensor, epsilon: float, seed: Tensor, dropped: int
) -> tuple[Tensor, Tensor, Tensor]:
    """LayerNorm(x + dropout(output)), and what it divided by."""
    rows, width = x.shape
    normed = x.new_empty(rows, width, dtype=torch.promote_types(x.dtype, output.dtype))
    mean, scale = _sums(x, 2, rows)
    gain, shift = _wide(weight), _wide(bias)
    _call(
        "heedful_add_norm",
        *(*_rows(x), *_rows(output), gain.data_ptr(), shift.data_ptr(), seed.item(), dropped, epsilon, rows, width),
        *(normed.data_ptr(), mean.data_ptr(), scale.data_ptr(), _narrow(x), _narrow(output)),
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
    (rows, width), gain = x.shape, _wide(weight)
    x_grad, output_grad = x.new_empty(rows, width), output.new_empty(rows, width)
    sums = _sums(x, 2, width)
    mean, scale = statistics
    _call(
        "heedful_add_norm_backward",
        *(*_rows(x), *_rows(output), *_rows(grad), gain.data_ptr(), seed.item(), dropped, rows, width),
        *(each.data_ptr() for each in (mean, scale, x_grad, output_grad, sums)),
        *(_narrow(x), _narrow(output)),
    )
    return x_grad, output_grad, sums


def add_dropout(x: Tensor | None, output: Tensor, seed: Tensor, dropped: int, dtype: torch.dtype) -> Tensor:
    """x + dropout(output)."""
    rows, width = output.shape
    result = output.new_empty(rows, width, dtype=dtype)
    _call(
        "heedful_add_dropout",
        *(None if x is None else x.data_ptr(), output.data_ptr(), seed.item(), dropped, rows, width),
        *(result.data_ptr(), _narrow(output if x is None else x), _narrow(output), _narrow(result)),
    )
    return result


def rectified(grad: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient where hidden is positive, and its sum over rows."""
    masked, sums = torch.empty_like(grad), _sums(grad, grad.size(1))
    _call(
        "heedful_rectified",
        *(grad.data_ptr(), hidden.data_ptr(), *grad.shape, masked.data_ptr(), sums.data_ptr(), _narrow(grad)),
    )
    return masked, sums


def row_sums(each: Tensor) -> Tensor:
    """The sum of all rows `[rows, width]`, float32."""
    sums = _sums(each, each.size(1))
    each = each if each.stride(1) == 1 else each.contiguous()
    _call("heedful_sums", *_rows(each), *each.shape, sums.data_ptr(), _narrow(each))
    return sums


def cross_entropy_rows(logits: Tensor, target: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Smoothed loss and negative log-likelihood; logits become their gradient."""
    smoothed, likelihood = _sums(logits, 2, len(target))
    target = _within(target, logits.size(1), least=None)
    _call(
        "heedful_cross_entropy",
        *(*_rows(logits), target.data_ptr(), smoothed.data_ptr(), likelihood.data_ptr()),
        *(*logits.shape, epsilon, _narrow(logits)),
    )
    return smoothed, likelihood


def consistency_rows(
    first: Tensor, second: Tensor, target: Tensor, epsilon: float, alpha: float
) -> tuple[Tensor, Tensor]:
    """The same of two passes that are to agree."""
    loss, likelihood = _sums(first, 2, len(target))
    target = _within(target, first.size(1), least=None)
    _call(
        "heedful_consistency",
        *(*_rows(first), *_rows(second), target.data_ptr(), loss.data_ptr(), likelihood.data_ptr()),
        *(*first.shape, epsilon, alpha, _narrow(first)),
    )
    return loss, likelihood


def _attend(name: str, read: Sequence[Tensor], written: Sequence[Tensor], seen: Seen, causal: bool) -> None:
    query, key, value = read[:3]
    (batch, heads, queries, d_k), keys, d_v = query.shape, key.size(2), value.size(3)
    hidden: tuple[Any, ...] = (0, None, 0, 0, 0, None, None)
    if isinstance(seen, Tensor):
        hidden = (seen.size(1) > 1, seen.data_ptr(), *seen.stride(), None, None)
    elif seen is not None:
        batch, queries, keys = len(seen.keys.starts) - 1, seen.queries.longest, seen.keys.longest
        hidden = (*hidden[:5], seen.queries.starts.data_ptr(), seen.keys.starts.data_ptr())
    ask = Attention(queries, keys, d_k, d_v, batch, heads, causal, *hidden)
    _call(name, ask, _places(*read, *written), _narrow(query))


def _dense(matrix: Tensor) -> Tensor:
    """The numbers of a row or of a column side by side."""
    return matrix if 1 in matrix.stride() else matrix.contiguous()


def _factor(matrix: Tensor) -> Factor:
    """`[index, inner]`, dense."""
    return Factor(matrix.data_ptr(), *matrix.stride(), _narrow(matrix))


def _call(name: str, *arguments: Any) -> None:
    if not getattr(_native(), name)(*arguments, torch.get_num_threads()):
        raise MemoryError


def _native() -> ctypes.CDLL:
    native = library()
    assert native is not None  # who calls has asked
    return native


def _places(*tensors: Tensor) -> Any:
    return (Places * len(tensors))(*(Places(each.data_ptr(), *each.stride()[:3]) for each in tensors))


def _rows(tensor: Tensor) -> tuple[int, int]:
    """Where it stands, and how far its rows are apart."""
    return tensor.data_ptr(), tensor.stride(0)


def _sums(like: Tensor, *shape: int) -> Tensor:
    """Not yet written; float32 whatever the default is."""
    return like.new_empty(*shape, dtype=torch.float32)


def _within(index: Tensor, size: int, least: int | None = 0) -> Tensor:
    """As C++ reads it; raises IndexError as an operator of PyTorch's would."""
    if index.numel() and (index.max() >= size or (least is not None and index.min() < least)):
        raise IndexError(f"index out of range: {index.min().item()} to {index.max().item()}, of {size}")
    return index.long().contiguous()


def _wide(tensor: Tensor) -> Tensor:
    return tensor.detach().float().contiguous()


def _narrow(tensor: Tensor) -> bool:
    return tensor.dtype == torch.bfloat16
