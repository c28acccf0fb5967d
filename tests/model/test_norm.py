import pytest
import torch
import torch.nn.functional as F
from torch import nn

from heedful.model.masks import padding_mask
from heedful.model.norm import BatchNorm, LayerNorm, NoNorm

D = 7


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(4)
    mask = padding_mask(torch.tensor([5, 2, 3]))
    return torch.randn(3, 5, D) * 3 + 2, mask


def test_layer_norm_is_mean_zero_variance_one_at_each_position() -> None:
    x, mask = _batch()
    norm = LayerNorm(D)
    with torch.no_grad():
        norm.weight.normal_()
        norm.bias.normal_()
    y = norm(x, mask)
    for position, expected in zip(x.view(-1, D).tolist(), y.view(-1, D), strict=True):
        mean = sum(position) / D
        variance = sum((value - mean) ** 2 for value in position) / D  # biased
        normed = torch.tensor([(value - mean) / (variance + 1e-5) ** 0.5 for value in position])
        torch.testing.assert_close(expected, normed * norm.weight + norm.bias)


def test_batch_norm_in_training_is_torchs_on_the_real_tokens() -> None:
    x, mask = _batch()
    ours, theirs = BatchNorm(D), nn.BatchNorm1d(D)
    with torch.no_grad():
        for parameter, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            parameter.copy_(torch.randn(D))
            other.copy_(parameter)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    for _ in range(3):
        y, expected = ours(a, mask)[mask], theirs(b[mask])
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_variance, theirs.running_var)
    weight = torch.randn_like(y)
    (y * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(a.grad, b.grad, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    torch.testing.assert_close(ours.eval()(x), theirs.eval()(x.transpose(1, 2)).transpose(1, 2))


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_does_not_see_the_padding(training) -> None:
    x, mask = _batch()
    norm = BatchNorm(D).train(training)
    y = norm(x, mask)
    running = norm.running_mean.clone()
    norm = BatchNorm(D).train(training)
    wide = F.pad(x.masked_fill(~mask.unsqueeze(-1), 1e4), (0, 0, 0, 8), value=-1e4)
    z = norm(wide, F.pad(mask, (0, 8)))
    torch.testing.assert_close(z[:, :5][mask], y[mask])
    torch.testing.assert_close(norm.running_mean, running)


def test_batch_norm_survives_one_token_and_none() -> None:
    norm = BatchNorm(D)
    one = norm(torch.ones(1, 1, D), torch.ones(1, 1, dtype=torch.bool))
    none = norm(torch.ones(1, 2, D), torch.zeros(1, 2, dtype=torch.bool))
    assert one.isfinite().all()
    assert none.isfinite().all()
    assert norm.running_variance.isfinite().all()


def test_batch_norm_evaluates_position_by_position() -> None:
    x, mask = _batch()
    norm = BatchNorm(D)
    norm(x, mask)
    norm.eval()
    torch.testing.assert_close(norm(x, mask)[1, 2], norm(x[1, 2]))
    mean, variance = norm.running_mean, norm.running_variance
    assert variance.sub(1).abs().min() > 0.1
    torch.testing.assert_close(norm(x[1, 2]), (x[1, 2] - mean) / (variance + 1e-5).sqrt())


def test_no_norm_is_the_identity() -> None:
    x, mask = _batch()
    assert NoNorm()(x, mask) is x
    assert not list(NoNorm().parameters())


@pytest.mark.parametrize("kind", [LayerNorm, BatchNorm])
def test_bfloat16_stays_bfloat16(kind) -> None:
    x, mask = _batch()
    norm = kind(D).bfloat16()
    y = norm(x.bfloat16(), mask)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float()[mask], kind(D)(x, mask)[mask], atol=0.05, rtol=0.05)
