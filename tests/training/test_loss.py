"""Label smoothing (Section 5.4): the formula, torch's own, and the fused form with its gradients."""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from heedful import kernels
from heedful.training import loss as module
from heedful.training.loss import CHUNK_ELEMENTS, chunk_size, label_smoothed_cross_entropy, projected_cross_entropy

POSITIONS, D_MODEL, VOCAB = 23, 7, 31


def _case() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(POSITIONS, D_MODEL, generator=generator, requires_grad=True)
    projection = torch.randn(VOCAB, D_MODEL, generator=generator, requires_grad=True)
    return hidden, projection, torch.randint(VOCAB, (POSITIONS,), generator=generator)


def test_uniform_logits_cost_log_of_the_vocabulary() -> None:
    smoothed, likelihood = label_smoothed_cross_entropy(torch.zeros(3, VOCAB), torch.tensor([0, 5, 30]), 0.1)
    assert smoothed.item() == pytest.approx(3 * math.log(VOCAB), rel=1e-6)
    assert likelihood.item() == pytest.approx(3 * math.log(VOCAB), rel=1e-6)


def test_epsilon_is_spread_over_every_class_the_right_one_included() -> None:
    logits, epsilon = torch.tensor([[1.0, -2.0, 0.5]]), 0.3
    log_probs = logits.log_softmax(-1)[0]
    target = [0.7 + 0.1, 0.1, 0.1]  # 1 - ε + ε / V on the right class, ε / V elsewhere
    expected = -sum(weight * float(log_prob) for weight, log_prob in zip(target, log_probs, strict=True))
    smoothed, likelihood = label_smoothed_cross_entropy(logits, torch.tensor([0]), epsilon)
    assert smoothed.item() == pytest.approx(expected, rel=1e-6)
    assert likelihood.item() == pytest.approx(-float(log_probs[0]), rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1])
def test_equals_torch(epsilon: float) -> None:
    hidden, projection, target = _case()
    logits = hidden @ projection.T
    smoothed, _ = label_smoothed_cross_entropy(logits, target, epsilon)
    expected = F.cross_entropy(logits, target, reduction="sum", label_smoothing=epsilon)
    torch.testing.assert_close(smoothed, expected)


@pytest.mark.parametrize("path", [kernels.plain, nullcontext])
@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_fused_with_the_projection_it_gives_the_same_sums_and_gradients(
    chunk: int, path: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "chunk_size", lambda *_: chunk)
    hidden, projection, target = _case()
    plain = label_smoothed_cross_entropy(hidden @ projection.T, target, 0.1)
    plain_grads = torch.autograd.grad(plain[0] / 3, (hidden, projection))
    with path():
        fused = projected_cross_entropy(hidden, projection, target, 0.1)
    fused_grads = torch.autograd.grad(fused[0] / 3, (hidden, projection))
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(fused_grads, plain_grads)


def test_a_wide_model_s_chunks_are_as_long_as_it_is_wide() -> None:
    assert chunk_size(torch.empty(8000, 128), torch.empty(0)) == CHUNK_ELEMENTS // 8000
    assert chunk_size(torch.empty(32_000, 512, device="meta"), torch.empty(0)) == 512


def test_targets_below_zero_count_for_nothing() -> None:
    hidden, projection, target = _case()
    real = torch.arange(len(target)) % 3 > 0
    weights = (hidden, projection)
    plain = projected_cross_entropy(hidden[real], projection, target[real], 0.1)
    plain_grads = torch.autograd.grad(plain[0], weights)
    padded = projected_cross_entropy(hidden, projection, target.where(real, -1), 0.1, padded=True)
    padded_grads = torch.autograd.grad(padded[0], weights)
    torch.testing.assert_close(padded, plain)
    torch.testing.assert_close(padded_grads, plain_grads)


def test_fused_in_bfloat16_stays_near() -> None:
    hidden, projection, target = _case()
    plain, _ = label_smoothed_cross_entropy(hidden @ projection.T, target, 0.1)
    with torch.autocast("cpu", torch.bfloat16):
        fused, _ = projected_cross_entropy(hidden, projection, target, 0.1)
    assert fused.item() == pytest.approx(plain.item(), rel=1e-2)
    assert fused.item() != plain.item()
    (gradient,) = torch.autograd.grad(fused, projection)
    assert gradient.dtype == torch.float32
