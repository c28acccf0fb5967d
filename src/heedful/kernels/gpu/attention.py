"""Equation 1 over short sequences: one program a head and sentence, which holds all of its scores."""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from heedful.kernels.sentences import Ragged, Seen

_LONGEST, _WIDEST = 64, 128
"""Queries or keys of a sentence, and d_k or d_v of a head, that one program holds."""


def fits(queries: int, keys: int, d_k: int, d_v: int, by_query: bool) -> bool:
    """One program holds a sentence, whose mask is one of keys alone."""
    return not by_query and max(queries, keys) <= _LONGEST and max(d_k, d_v) <= _WIDEST


def attend(read: Sequence[Tensor], written: Tensor, seen: Seen, causal: bool) -> None:
    """softmax(QK^T / sqrt(d_k))V."""
    _launch(_forward, causal, seen, read, (written,))


def attend_backward(read: Sequence[Tensor], written: Sequence[Tensor], seen: Seen, causal: bool) -> None:
    """Its gradients."""
    _launch(_backward, causal, seen, read, written)


def _launch(kernel: Any, causal: bool, seen: Seen, read: Sequence[Tensor], written: Sequence[Tensor]) -> None:
    query, key, value = read[:3]
    (batch, heads, queries, d_k), keys, d_v = query.shape, key.size(2), value.size(3)
    mask = query_starts = key_starts = query  # somewhere to point to
    if isinstance(seen, Ragged):
        query_starts, key_starts = seen.queries.starts, seen.keys.starts
        batch, queries, keys = len(key_starts) - 1, seen.queries.longest, seen.keys.longest
    elif seen is not None:
        mask = seen[:, 0].view(torch.uint8)
    blocks = [max(16, triton.next_power_of_2(size)) for size in (queries, keys, d_k, d_v)]
    places = [number for each in (*read, *written) for number in (each, *each.stride()[:3])]
    with torch.cuda.device_of(query):  # which need not be the current one
        kernel[(batch * heads,)](
            *(*places, query_starts, key_starts, mask, mask.stride(0), mask.stride(1)),
            *(heads, queries, keys, d_k**-0.5, d_k, d_v),
            causal=causal,
            masked=isinstance(seen, Tensor),
            ragged=isinstance(seen, Ragged),
            block_queries=blocks[0],
            block_keys=blocks[1],
            block_k=blocks[2],
            block_v=blocks[3],
            exact="ieee" if query.dtype == torch.float32 else "tf32",
            num_warps=1 if max(blocks[:2]) <= 32 else 4,
        )


@triton.jit
def _begin(starts, length, sentence, ragged: tl.constexpr):
    """In which row of the batch a sentence stands, from which position on, and how long it is."""
    if ragged:
        first = tl.load(starts + sentence)
        return tl.zeros_like(sentence), first, tl.load(starts + sentence + 1) - first
    return sentence, tl.zeros_like(sentence), tl.zeros_like(sentence) + length


@triton.jit
def _places(base, batch_stride, head_stride, row_stride, row, head, first, rows, columns):
    origin = base + row * batch_stride + head * head_stride + first * row_stride
    return origin + rows[:, None] * row_stride + columns[None, :]


@triton.jit
def _load(base, batch_stride, head_stride, row_stride, row, head, first, rows, columns, length, width):
    """[rows, columns] of one head, zeros beyond its length and width."""
    places = _places(base, batch_stride, head_stride, row_stride, row, head, first, rows, columns)
    return tl.load(places, mask=(rows[:, None] < length) & (columns[None, :] < width), other=0.0)


@triton.jit
def _store(base, batch_stride, head_stride, row_stride, row, head, first, rows, columns, length, width, x):
    places = _places(base, batch_stride, head_stride, row_stride, row, head, first, rows, columns)
    tl.store(places, x.to(base.dtype.element_ty), mask=(rows[:, None] < length) & (columns[None, :] < width))


@triton.jit
def _weights(
    q,
    k,
    mask,
    mask_batch,
    mask_key,
    batch,
    query,
    key,
    keys,
    scale,
    causal: tl.constexpr,
    masked: tl.constexpr,
    exact: tl.constexpr,
):
    """softmax(QK^T · scale), zeros where attention may not look."""
    scores = tl.dot(q, tl.trans(k), input_precision=exact) * scale
    visible = key[None, :] < keys
    if masked:
        visible = (
            visible & (tl.load(mask + batch * mask_batch + key * mask_key, mask=key < keys, other=0) != 0)[None, :]
        )
    visible = visible & ((key[None, :] <= query[:, None]) | (not causal))
    scores = tl.where(visible, scores, -1.0e30)
    exponentials = tl.where(visible, tl.exp(scores - tl.max(scores, 1)[:, None]), 0.0)
    total = tl.sum(exponentials, 1)
    return exponentials / tl.where(total > 0.0, total, 1.0)[:, None]


_VARYING = ["mask_batch", "mask_key", "heads", "queries", "keys"]
"""For whose values no kernels of their own are compiled."""


@triton.jit(do_not_specialize=_VARYING)
def _forward(
    q, q_batch, q_head, q_row,
    k, k_batch, k_head, k_row,
    v, v_batch, v_head, v_row,
    out, out_batch, out_head, out_row,
    query_starts, key_starts, mask, mask_batch, mask_key, heads, queries, keys, scale, d_k, d_v,
    causal: tl.constexpr, masked: tl.constexpr, ragged: tl.constexpr,
    block_queries: tl.constexpr, block_keys: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr,
    exact: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)  # a batch may have more than 2^31 components
    sentence, head = program // heads, program % heads
    batch, q_first, queries = _begin(query_starts, queries, sentence, ragged)
    batch, k_first, keys = _begin(key_starts, keys, sentence, ragged)
    query, key = tl.arange(0, block_queries), tl.arange(0, block_keys)
    column_k, column_v = tl.arange(0, block_k), tl.arange(0, block_v)
    q_tile = _load(q, q_batch, q_head, q_row, batch, head, q_first, query, column_k, queries, d_k)
    k_tile = _load(k, k_batch, k_head, k_row, batch, head, k_first, key, column_k, keys, d_k)
    v_tile = _load(v, v_batch, v_head, v_row, batch, head, k_first, key, column_v, keys, d_v)
    p = _weights(q_tile, k_tile, mask, mask_batch, mask_key, batch, query, key, keys, scale, causal, masked, exact)
    context = tl.dot(p.to(v_tile.dtype), v_tile, input_precision=exact)
    _store(out, out_batch, out_head, out_row, batch, head, q_first, query, column_v, queries, d_v, context)


@triton.jit(do_not_specialize=_VARYING)
def _backward(
    q, q_batch, q_head, q_row,
    k, k_batch, k_head, k_row,
    v, v_batch, v_head, v_row,
    grad, grad_batch, grad_head, grad_row,
    dq, dq_batch, dq_head, dq_row,
    dk, dk_batch, dk_head, dk_row,
    dv, dv_batch, dv_head, dv_row,
    query_starts, key_starts, mask, mask_batch, mask_key, heads, queries, keys, scale, d_k, d_v,
    causal: tl.constexpr, masked: tl.constexpr, ragged: tl.constexpr,
    block_queries: tl.constexpr, block_keys: tl.constexpr, block_k: tl.constexpr, block_v: tl.constexpr,
    exact: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)  # a batch may have more than 2^31 components
    sentence, head = program // heads, program % heads
    batch, q_first, queries = _begin(query_starts, queries, sentence, ragged)
    batch, k_first, keys = _begin(key_starts, keys, sentence, ragged)
    query, key = tl.arange(0, block_queries), tl.arange(0, block_keys)
    column_k, column_v = tl.arange(0, block_k), tl.arange(0, block_v)
    q_tile = _load(q, q_batch, q_head, q_row, batch, head, q_first, query, column_k, queries, d_k)
    k_tile = _load(k, k_batch, k_head, k_row, batch, head, k_first, key, column_k, keys, d_k)
    v_tile = _load(v, v_batch, v_head, v_row, batch, head, k_first, key, column_v, keys, d_v)
    g_tile = _load(grad, grad_batch, grad_head, grad_row, batch, head, q_first, query, column_v, queries, d_v)
    p = _weights(q_tile, k_tile, mask, mask_batch, mask_key, batch, query, key, keys, scale, causal, masked, exact)
    d_p = tl.dot(g_tile, tl.trans(v_tile), input_precision=exact)
    # the softmax's Jacobian: P ∘ (dP - the row's sum of P ∘ dP)
    d_scores = (p * (d_p - tl.sum(p * d_p, 1)[:, None]) * scale).to(q_tile.dtype)
    _store(dq, dq_batch, dq_head, dq_row, batch, head, q_first, query, column_k, queries, d_k,
           tl.dot(d_scores, k_tile, input_precision=exact))  # fmt: skip
    _store(dk, dk_batch, dk_head, dk_row, batch, head, k_first, key, column_k, keys, d_k,
           tl.dot(tl.trans(d_scores), q_tile, input_precision=exact))  # fmt: skip
    _store(dv, dv_batch, dv_head, dv_row, batch, head, k_first, key, column_v, keys, d_v,
           tl.dot(tl.trans(p.to(g_tile.dtype)), g_tile, input_precision=exact))  # fmt: skip
