"""Losses and their gradients from logits, a program a position: what is element-wise between the two products.

The gradient takes the place of the logits. Targets below 0 count for nothing.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK, _WARPS = 4096, 16
"""Classes that a program holds at a time, and who shares them."""


def cross_entropy_rows(logits: Tensor, target: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Smoothed loss and negative log-likelihood; logits become their gradient."""
    smoothed, likelihood = (target.new_empty(len(target), dtype=torch.float32) for _ in range(2))
    with torch.cuda.device_of(logits):
        _cross_entropy[(len(target),)](
            *(logits, logits.stride(0), target, smoothed, likelihood, logits.size(1), epsilon),
            block=_BLOCK,
            num_warps=_WARPS,
        )
    return smoothed, likelihood


def consistency_rows(
    first: Tensor, second: Tensor, target: Tensor, epsilon: float, alpha: float
) -> tuple[Tensor, Tensor]:
    """The same of two passes that are to agree."""
    loss, likelihood = (target.new_empty(len(target), dtype=torch.float32) for _ in range(2))
    rows = (first, first.stride(0), second, second.stride(0))
    with torch.cuda.device_of(first):
        _consistency[(len(target),)](
            *(*rows, target, loss, likelihood, first.size(1), epsilon, alpha), block=_BLOCK, num_warps=_WARPS
        )
    return loss, likelihood


@triton.jit
def _log_total(row, vocab: tl.constexpr, block: tl.constexpr):
    """Log-sum-exp of a row, and its sum. Greatest and total are kept lane by lane until the end."""
    lane = tl.arange(0, block)
    greatest = tl.full([block], -1.0e30, tl.float32)
    total = tl.zeros([block], tl.float32)
    plain = tl.zeros([block], tl.float32)
    for start in range(0, vocab, block):
        inside = start + lane < vocab
        x = tl.load(row + start + lane, mask=inside, other=0.0).to(tl.float32)
        plain += x
        higher = tl.maximum(greatest, tl.where(inside, x, -1.0e30))
        total = total * tl.exp(greatest - higher) + tl.where(inside, tl.exp(x - higher), 0.0)
        greatest = higher
    highest = tl.max(greatest, 0)
    return highest + tl.log(tl.sum(total * tl.exp(greatest - highest), 0)), tl.sum(plain, 0)


@triton.jit
def _cross_entropy(logits, stride, target, smoothed, likelihood, vocab: tl.constexpr, epsilon, block: tl.constexpr):
    position = tl.program_id(0).to(tl.int64)
    row = logits + position * stride
    right = tl.load(target + position)
    real = tl.where(right >= 0, 1.0, 0.0)
    right = tl.maximum(right, 0)
    log_total, plain = _log_total(row, vocab, block)
    nll = log_total - tl.load(row + right).to(tl.float32)
    tl.store(likelihood + position, nll * real)
    tl.store(smoothed + position, ((1 - epsilon) * nll + epsilon * (log_total - plain / vocab)) * real)
    tl.debug_barrier()  # the right class is read before its gradient takes its place
    lane = tl.arange(0, block)
    for start in range(0, vocab, block):
        column = start + lane
        x = tl.load(row + column, mask=column < vocab, other=0.0).to(tl.float32)
        # softmax - target distribution
        grad = tl.exp(x - log_total) - epsilon / vocab - tl.where(column == right, 1 - epsilon, 0.0)
        tl.store(row + column, (grad * real).to(logits.dtype.element_ty), mask=column < vocab)


@triton.jit
def _consistency(
    first, first_stride, second, second_stride, target, loss, likelihood, vocab: tl.constexpr, epsilon, alpha,
    block: tl.constexpr,
):  # fmt: skip
    position = tl.program_id(0).to(tl.int64)
    row_p, row_q = first + position * first_stride, second + position * second_stride
    right = tl.load(target + position)
    real = tl.where(right >= 0, 1.0, 0.0)
    right = tl.maximum(right, 0)
    total_p, plain_p = _log_total(row_p, vocab, block)
    total_q, plain_q = _log_total(row_q, vocab, block)
    lane = tl.arange(0, block)
    there, back = tl.zeros([block], tl.float32), tl.zeros([block], tl.float32)
    for start in range(0, vocab, block):
        inside = start + lane < vocab
        log_p = tl.load(row_p + start + lane, mask=inside, other=0.0).to(tl.float32) - total_p
        log_q = tl.load(row_q + start + lane, mask=inside, other=0.0).to(tl.float32) - total_q
        gap = log_p - log_q
        there += tl.where(inside, tl.exp(log_p) * gap, 0.0)
        back -= tl.where(inside, tl.exp(log_q) * gap, 0.0)
    kl_p, kl_q = tl.sum(there, 0), tl.sum(back, 0)
    right_logits = tl.load(row_p + right).to(tl.float32) + tl.load(row_q + right).to(tl.float32)
    nll = (total_p + total_q - right_logits) / 2
    uniform = (total_p + total_q - (plain_p + plain_q) / vocab) / 2
    tl.store(likelihood + position, nll * real)
    tl.store(loss + position, ((1 - epsilon) * nll + epsilon * uniform + alpha / 4 * (kl_p + kl_q)) * real)
    tl.debug_barrier()  # the right class is read before its gradient takes its place
    for start in range(0, vocab, block):
        column = start + lane
        log_p = tl.load(row_p + column, mask=column < vocab, other=0.0).to(tl.float32) - total_p
        log_q = tl.load(row_q + column, mask=column < vocab, other=0.0).to(tl.float32) - total_q
        p, q, gap = tl.exp(log_p), tl.exp(log_q), log_p - log_q
        wanted = epsilon / (2 * vocab) + tl.where(column == right, (1 - epsilon) / 2, 0.0)
        # ∂/∂z_p of KL(P | Q) is P (log P - log Q - KL), of KL(Q | P) it is P - Q
        d_p = p * (0.5 + alpha / 4 * (gap - kl_p)) + alpha / 4 * (p - q) - wanted
        d_q = q * (0.5 - alpha / 4 * (gap + kl_q)) - alpha / 4 * (p - q) - wanted
        tl.store(row_p + column, (d_p * real).to(first.dtype.element_ty), mask=column < vocab)
        tl.store(row_q + column, (d_q * real).to(second.dtype.element_ty), mask=column < vocab)
