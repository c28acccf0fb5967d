"""Cross-entropy with label smoothing (Section 5.4): the formula, and the same fused with the projection.

The fused form never holds all the logits: it walks over the positions in chunks and leaves each chunk's
gradient where its logits were. Padding is not its business, but that targets below 0 may stand for it.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful import kernels
from heedful.kernels.product import add_product, both_ways, multiply, product_dtype

CHUNK_ELEMENTS = 4_000_000
"""Logits held at a time, 16 MB: few enough for the cache, and rows enough for fast products."""
_KERNEL_CHUNK_ELEMENTS = 1 << 28
"""On a GPU, where a kernel leaves nothing beside them: half a gigabyte in bfloat16, for products that fill it."""


def label_smoothed_cross_entropy(logits: Tensor, target: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
    """Sums over positions of the smoothed loss and of the plain negative log-likelihood, in nats.

    The target distribution is 1 - ε on the right class plus ε / V on every one (Szegedy et al. 2016, Section 7).
    Shapes: logits `[positions, vocab]`, target `[positions]`, both results scalars.
    """
    log_probs = logits.float().log_softmax(-1)
    likelihood = -log_probs.gather(-1, target[:, None]).sum()
    uniform = -log_probs.mean(-1).sum()
    return (1 - epsilon) * likelihood + epsilon * uniform, likelihood


def projected_cross_entropy(
    hidden: Tensor, projection: Tensor, target: Tensor, epsilon: float, padded: bool = False
) -> tuple[Tensor, Tensor]:
    """`label_smoothed_cross_entropy(hidden @ projection.T, target, epsilon)` in chunks, gradient included.

    Shapes: hidden `[positions, d_model]`, projection `[vocab, d_model]`, target `[positions]`. Only where it is said
    that they are `padded` may there be targets below 0; their positions count for nothing.
    """
    smoothed, likelihood = _ProjectedCrossEntropy.apply(hidden, projection, target, epsilon, padded)  # type: ignore[no-untyped-call]
    return smoothed, likelihood


class _ProjectedCrossEntropy(torch.autograd.Function):
    """Gradients are computed on the way forward, while the logits are at hand."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, projection: Tensor, target: Tensor, epsilon: float, padded: bool
    ) -> tuple[Tensor, Tensor]:
        training = any(ctx.needs_input_grad[:2])
        dtype = product_dtype(hidden)
        states = hidden.to(dtype)
        across, along = both_ways(projection, states)
        # mean of the logits = hidden · mean of the rows: no pass over the logits for the uniform part of the loss
        kernel = kernels.backend(states)
        mean_logits = None if kernel else states.float() @ projection.to(dtype).float().mean(0)
        hidden_grad = torch.empty_like(states) if training else None
        projection_grad = torch.zeros_like(projection, dtype=torch.float32) if training else None
        smoothed = likelihood = hidden.new_zeros((), dtype=torch.float32)
        size = chunk_size(projection, states)
        held = states.new_empty(min(size, len(target)), len(projection))
        for start in range(0, len(target), size):
            part = slice(start, start + size)
            logits = multiply(states[part], across, out=held[: len(target) - start])
            if mean_logits is None:
                assert kernel is not None
                each_smoothed, each_likelihood = kernel.cross_entropy_rows(logits, target[part], epsilon)
                grad = logits
            else:
                each_smoothed, each_likelihood, grad = _rows(logits, mean_logits[part], target[part], epsilon, padded)
            smoothed, likelihood = smoothed + each_smoothed.sum(), likelihood + each_likelihood.sum()
            if hidden_grad is not None and projection_grad is not None:
                multiply(grad, along, out=hidden_grad[part])
                add_product(projection_grad, grad.T, states[part])
        if training:
            ctx.save_for_backward(hidden_grad, projection_grad)
        ctx.mark_non_differentiable(likelihood)
        return smoothed, likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_smoothed: Tensor, _grad_likelihood: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, projection_grad = ctx.saved_tensors
        # in place: of a large vocabulary, another tensor costs more than the product
        return hidden_grad.mul_(grad_smoothed), projection_grad.mul_(grad_smoothed), None, None, None


def chunk_size(projection: Tensor, like: Tensor) -> int:
    """Positions whose logits are held at a time.

    Of a wide model as many as d_model at least, so that adding up the projection's gradient, once a chunk, takes no
    longer than the passes over logits.
    """
    vocab, d_model = projection.shape
    filling = like.is_cuda and kernels.backend(like) is not None
    return max(d_model, (_KERNEL_CHUNK_ELEMENTS if filling else CHUNK_ELEMENTS) // vocab)


def real_targets(target: Tensor, padded: bool) -> tuple[Tensor, Tensor | None]:
    """A class for every row of `[positions, 1]`, and 1 or 0 `[positions]` for those that count; None: all do."""
    return (target.clamp(min=0), (target >= 0).squeeze(1).float()) if padded else (target, None)


def _rows(
    logits: Tensor, mean_logits: Tensor, target: Tensor, epsilon: float, padded: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Smoothed loss and negative log-likelihood `[positions]`, and ∂loss/∂logits as the logits `[positions, vocab]`."""
    dtype, vocab, logits = logits.dtype, logits.size(-1), logits.float()
    right, real = real_targets(target[:, None], padded)
    highest, right_logits = logits.amax(-1), logits.gather(-1, right).squeeze(-1)
    # one fused kernel reads the logits once; what it divided by follows from its greatest probability
    probabilities = logits.softmax(-1)
    log_total = highest - probabilities.amax(-1).log()
    nll = log_total - right_logits
    smoothed = nll - epsilon * (mean_logits - right_logits)
    # softmax - target distribution
    grad = probabilities.sub_(epsilon / vocab)
    grad.scatter_add_(-1, right, grad.new_full(right.shape, epsilon - 1))
    if real is not None:
        nll, smoothed, grad = nll * real, smoothed * real, grad.mul_(real.unsqueeze(1))
    return smoothed, nll, grad.to(dtype)
