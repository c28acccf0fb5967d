"""Cross-entropy with label smoothing (Section 5.4): the formula, and the same fused with the projection.

The fused form never holds all the logits: it walks over the positions in chunks and leaves each chunk's
gradient where its logits were. Knows no padding: it is given real positions only.
"""

from typing import Any

import torch
from torch import Tensor

CHUNK_ELEMENTS = 4_000_000
"""Logits held at a time, 16 MB: few enough for the cache, and rows enough for fast products."""


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
    hidden: Tensor, projection: Tensor, target: Tensor, epsilon: float
) -> tuple[Tensor, Tensor]:
    """`label_smoothed_cross_entropy(hidden @ projection.T, target, epsilon)` in chunks, gradient included.

    Shapes: hidden `[positions, d_model]`, projection `[vocab, d_model]`, target `[positions]`.
    """
    smoothed, likelihood = _ProjectedCrossEntropy.apply(hidden, projection, target, epsilon)  # type: ignore[no-untyped-call]
    return smoothed, likelihood


class _ProjectedCrossEntropy(torch.autograd.Function):
    """Gradients are computed on the way forward, while the logits are at hand."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, projection: Tensor, target: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        vocab = projection.shape[0]
        training = any(ctx.needs_input_grad[:2])
        dtype = product_dtype(hidden)
        states, weights = hidden.to(dtype), projection.to(dtype)
        # mean of the logits = hidden · mean of the rows: no pass over the logits for the uniform part of the loss
        mean_logits = states.float() @ weights.float().mean(0)
        hidden_grad = torch.empty_like(states) if training else None
        projection_grad = torch.zeros_like(projection, dtype=torch.float32) if training else None
        smoothed = likelihood = hidden.new_zeros((), dtype=torch.float32)
        size = max(1, CHUNK_ELEMENTS // vocab)
        for start in range(0, len(target), size):
            part = slice(start, start + size)
            right = target[part, None]
            logits = (states[part] @ weights.T).float()
            highest, right_logits = logits.amax(-1), logits.gather(-1, right).squeeze(-1)
            # one fused kernel reads the logits once; what it divided by follows from its greatest probability
            probabilities = logits.softmax(-1)
            log_total = highest - probabilities.amax(-1).log()
            likelihood = likelihood + (log_total - right_logits).sum()
            uniform = epsilon * (mean_logits[part] - right_logits)
            smoothed = smoothed + (log_total - right_logits - uniform).sum()
            if hidden_grad is not None and projection_grad is not None:
                # ∂loss/∂logits = softmax - target distribution
                grad = probabilities.sub_(epsilon / vocab)
                grad.scatter_add_(-1, right, grad.new_full(right.shape, epsilon - 1))
                grad = grad.to(dtype)
                torch.mm(grad, weights, out=hidden_grad[part])
                add_product(projection_grad, grad.T, states[part])
        if training:
            ctx.save_for_backward(hidden_grad, projection_grad)
        ctx.mark_non_differentiable(likelihood)
        return smoothed, likelihood

    @staticmethod
    def backward(ctx: Any, grad_smoothed: Tensor, _grad_likelihood: Tensor) -> tuple[Tensor | None, ...]:
        hidden_grad, projection_grad = ctx.saved_tensors
        return hidden_grad * grad_smoothed, projection_grad * grad_smoothed, None, None


def product_dtype(hidden: Tensor) -> torch.dtype:
    """Autocast's where it is on, which a function with its own gradient has to ask for."""
    device = hidden.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype


def add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """total += left @ right, whatever the precision of the factors."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)
