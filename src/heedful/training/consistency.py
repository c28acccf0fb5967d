"""Consistency of two passes with different dropout (R-Drop, Liang et al. 2021, equation 3): the formula, and fused.

Half the paper's sum, so that the size of a loss does not depend on whether it is used:
(CE_1 + CE_2) / 2 + α / 4 · (KL(P_1 | P_2) + KL(P_2 | P_1)), with label smoothing in the cross-entropies CE.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from heedful import kernels
from heedful.kernels.product import add_product, both_ways, multiply, product_dtype
from heedful.training.loss import chunk_size, label_smoothed_cross_entropy, real_targets


def consistent_cross_entropy(
    logits: tuple[Tensor, Tensor], target: Tensor, epsilon: float, alpha: float
) -> tuple[Tensor, Tensor]:
    """Sums over positions of the loss and of the mean negative log-likelihood of both passes, in nats.

    Shapes: logits `[positions, vocab]` each, target `[positions]`, both results scalars.
    """
    smoothed, likelihood = (
        sum(each) / 2 for each in zip(*(label_smoothed_cross_entropy(z, target, epsilon) for z in logits), strict=True)
    )
    first, second = (z.float().log_softmax(-1) for z in logits)
    divergence = ((first.exp() - second.exp()) * (first - second)).sum()
    return smoothed + alpha / 4 * divergence, torch.as_tensor(likelihood)


def projected_consistency(
    hidden: tuple[Tensor, Tensor],
    projection: Tensor,
    target: Tensor,
    epsilon: float,
    alpha: float,
    padded: bool = False,
) -> tuple[Tensor, Tensor]:
    """`consistent_cross_entropy` of the two products with the projection, in chunks, gradient included.

    Shapes: hidden `[positions, d_model]` each, projection `[vocab, d_model]`, target `[positions]`; `padded` as in
    `projected_cross_entropy`.
    """
    loss, likelihood = _ProjectedConsistency.apply(*hidden, projection, target, epsilon, alpha, padded)  # type: ignore[no-untyped-call]
    return loss, likelihood


class _ProjectedConsistency(torch.autograd.Function):
    """Gradients are computed on the way forward, as in `projected_cross_entropy`."""

    @staticmethod
    def forward(
        ctx: Any,
        first: Tensor,
        second: Tensor,
        projection: Tensor,
        target: Tensor,
        epsilon: float,
        alpha: float,
        padded: bool,
    ) -> tuple[Tensor, Tensor]:
        dtype = product_dtype(first)
        states = first.to(dtype), second.to(dtype)
        across, along = both_ways(projection, states[0])
        grads = torch.empty_like(states[0]), torch.empty_like(states[1])
        projection_grad = torch.zeros_like(projection, dtype=torch.float32)
        loss = likelihood = first.new_zeros((), dtype=torch.float32)
        kernel, size = kernels.backend(states[0]), chunk_size(projection, states[0])
        held = [each.new_empty(min(size, len(target)), len(projection)) for each in states]
        for start in range(0, len(target), size):
            part, rows = slice(start, start + size), slice(len(target) - start)
            logits = multiply(states[0][part], across, held[0][rows]), multiply(states[1][part], across, held[1][rows])
            if kernel:
                own = logits
                each_loss, each_likelihood = kernel.consistency_rows(*logits, target[part], epsilon, alpha)
            else:
                each_loss, each_likelihood, own = _rows(*logits, target[part], epsilon, alpha, padded)
            loss, likelihood = loss + each_loss.sum(), likelihood + each_likelihood.sum()
            for number, grad in enumerate(own):
                multiply(grad, along, out=grads[number][part])
                add_product(projection_grad, grad.T, states[number][part])
        ctx.save_for_backward(*grads, projection_grad)
        ctx.mark_non_differentiable(likelihood)
        return loss, likelihood

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor, _grad_likelihood: Tensor) -> tuple[Tensor | None, ...]:
        first, second, projection = ctx.saved_tensors
        return first.mul_(grad_loss), second.mul_(grad_loss), projection.mul_(grad_loss), None, None, None, None


def _rows(
    first: Tensor, second: Tensor, target: Tensor, epsilon: float, alpha: float, padded: bool
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Loss and negative log-likelihood `[positions]`, and the gradients of both logits."""
    vocab, dtype = first.size(-1), first.dtype
    right, real = real_targets(target[:, None], padded)
    log_probs = [each.float().log_softmax(-1) for each in (first, second)]
    probs = [each.exp() for each in log_probs]
    gap = log_probs[0] - log_probs[1]
    nll = -torch.cat([each.gather(-1, right) for each in log_probs], -1).mean(-1)
    uniform = -torch.stack([each.sum(-1) for each in log_probs], -1).mean(-1) / vocab
    # KL(P | Q) = Σ P (log P - log Q)
    divergences = [(probs[0] * gap).sum(-1, keepdim=True), -(probs[1] * gap).sum(-1, keepdim=True)]
    loss = (1 - epsilon) * nll + epsilon * uniform + alpha / 4 * torch.cat(divergences, -1).sum(-1)
    apart = (probs[0] - probs[1]).mul_(alpha / 4)
    grads = []
    for number, sign in enumerate((1.0, -1.0)):
        # ∂/∂z_1 of Σ P (log P - log Q) is P (log P - log Q - KL), of the other direction P - Q
        scale = gap.mul(sign * alpha / 4).sub_(alpha / 4 * divergences[number]).add_(0.5)
        grad = scale.mul_(probs[number]).add_(apart, alpha=sign).sub_(epsilon / (2 * vocab))
        grad.scatter_add_(-1, right, grad.new_full(right.shape, (epsilon - 1) / 2))
        grads.append((grad if real is None else grad.mul_(real.unsqueeze(1))).to(dtype))
    if real is not None:
        loss, nll = loss * real, nll * real
    return loss, nll, (grads[0], grads[1])
