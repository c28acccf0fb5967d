"""Equation 1 over short sequences: what autograd and the layout of heads ask for around a kernel.

Kernels made for long sequences walk over blocks of keys; a sentence is one block, and most of such a kernel's time is
overhead. Here queries, keys and values are read once and the context is written once, backward likewise.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful import kernels
from heedful.kernels.sentences import Ragged, Seen


def packs(like: Tensor, queries: int, keys: int, d_k: int, d_v: int) -> bool:
    """Whether `short_attention` takes sentences up to such lengths without padding; `like` is a weight."""
    if not torch.is_grad_enabled():
        return False
    backend = kernels.backend(like)
    return backend is not None and backend.fits(queries, keys, d_k, d_v, False)


def short_attention(query: Tensor, key: Tensor, value: Tensor, seen: Seen, causal: bool) -> Tensor | None:
    """softmax(QK^T / sqrt(d_k))V; a query that may look nowhere gets zeros. None where there is no kernel for it.

    Shapes: query, key and value `[batch, heads, query or key, d_k or d_v]`, seen `[batch or 1, query or 1, key]` bool,
    True where attention may look; the result's memory is `[batch, query, heads, d_v]`. With `Ragged` sentences, for
    which `packs` has to be asked, batch is 1 and every sentence in it.
    """
    if query.is_cpu and not torch.is_grad_enabled():  # compiled for training; PyTorch's are as good without gradients
        return None
    backend = kernels.backend(query, key, value)
    if backend is None or key.shape[:2] != query.shape[:2] or value.shape[:3] != key.shape[:3]:
        return None
    if not isinstance(seen, Ragged):
        if seen is not None:
            seen = seen.expand(query.size(0), -1, key.size(2))
        by_query = seen is not None and seen.size(1) > 1
        if not backend.fits(query.size(2), key.size(2), key.size(3), value.size(3), by_query):
            return None
    context: Tensor = _ShortAttention.apply(query, key, value, seen, causal, backend)
    return context


class _ShortAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        seen: Seen,
        causal: bool,
        backend: kernels.Backend,
    ) -> Tensor:
        query, key, value = (_rows(each) for each in (query, key, value))
        [context] = _empty(query, value.size(3))
        backend.attend((query, key, value), context, seen, causal)
        ctx.save_for_backward(query, key, value)
        ctx.seen, ctx.causal, ctx.backend = seen, causal, backend
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value = ctx.saved_tensors
        d_k, d_v = key.size(3), value.size(3)
        if query.size(2) == key.size(2):  # perhaps of one projection
            grads = _empty(query, d_k, d_k, d_v)
        else:
            grads = [*_empty(query, d_k), *_empty(key, d_k, d_v)]
        ctx.backend.attend_backward((query, key, value, _rows(grad)), grads, ctx.seen, ctx.causal)
        return *grads, None, None, None


def split(packed: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """`torch.split` of the last dimension; gradients beside each other, as `short_attention` leaves, are not copied."""
    parts: tuple[Tensor, ...] = _Split.apply(packed, sizes)
    return parts


class _Split(torch.autograd.Function):
    @staticmethod
    def forward(_ctx: Any, packed: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
        return torch.split(packed, sizes, -1)

    @staticmethod
    def backward(_ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        first, width = grads[0], 0
        for grad in grads:
            place = grad.untyped_storage().data_ptr(), grad.storage_offset(), grad.stride(), grad.stride(-1)
            if place != (first.untyped_storage().data_ptr(), first.storage_offset() + width, first.stride(), 1):
                return torch.cat(grads, -1), None
            width += grad.size(-1)
        return first.as_strided((*first.shape[:-1], width), first.stride()), None


def _rows(tensor: Tensor) -> Tensor:
    """The kernels want the components of a position side by side."""
    return tensor if tensor.stride(3) == 1 else tensor.contiguous()


def _empty(like: Tensor, *widths: int) -> list[Tensor]:
    """`[batch, heads, length, width]` each; in memory all of a position's stand side by side."""
    batch, heads, length, _ = like.shape
    packed = like.new_empty(batch, length, heads * sum(widths))
    parts = packed.split([heads * width for width in widths], -1)
    return [part.view(batch, length, heads, -1).transpose(1, 2) for part in parts]
