"""Attention and losses in one kernel against the formulas."""

from itertools import accumulate

import pytest
import torch

from heedful import kernels
from heedful.kernels import cpu
from heedful.kernels.attention import short_attention, split
from heedful.kernels.sentences import Ragged, Sentences
from heedful.model.attention import scaled_dot_product_attention
from heedful.training.consistency import consistent_cross_entropy
from heedful.training.loss import label_smoothed_cross_entropy
from tests.kernels.backends import backend_of


@pytest.mark.parametrize("masked", ["no", "by key", "by query"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("queries", "keys", "d_k", "d_v"), [(2, 1, 4, 4), (5, 17, 8, 20), (33, 33, 16, 16), (40, 29, 24, 64)]
)
def test_attention_and_its_gradients(
    queries: int, keys: int, d_k: int, d_v: int, causal: bool, masked: str, device: str
) -> None:
    torch.manual_seed(1)
    shapes = ((3, queries, 2, d_k), (3, keys, 2, d_k), (3, keys, 2, d_v))
    # as they come from a projection: heads beside each other
    q, k, v = (torch.randn(shape, device=device).transpose(1, 2).requires_grad_() for shape in shapes)
    rows = queries if masked == "by query" else 1
    if rows > 1 and kernels.backend(q) is not cpu:
        pytest.skip("on a GPU masks are of keys alone")
    seen = torch.rand(3, rows, keys, device=device) > 0.4 if masked != "no" else None
    mask = torch.ones(queries, keys, dtype=torch.bool, device=device)
    if seen is not None:
        seen[0] = False  # nowhere to look: zeros
        mask = mask & seen[:, None]
    if causal:
        mask = mask & torch.ones(queries, keys, dtype=torch.bool, device=device).tril()
    found = short_attention(q, k, v, seen, causal)
    assert found is not None
    wanted, _ = scaled_dot_product_attention(q, k, v, mask)
    torch.testing.assert_close(found, wanted)
    above = torch.randn_like(wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, (q, k, v), above),
        torch.autograd.grad(wanted, (q, k, v), above),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_sentences_in_a_row_are_as_each_alone(causal: bool, dtype: torch.dtype, device: str) -> None:
    torch.manual_seed(1)
    queries, keys = ([3, 1, 20, 0, 6],) * 2 if causal else ([3, 1, 20, 0, 6], [17, 2, 1, 4, 9])
    inputs = [
        torch.randn(1, n, 3, 8, dtype=dtype, device=device).transpose(1, 2).requires_grad_()
        for n in (sum(queries), sum(keys), sum(keys))
    ]
    starts = [torch.tensor([0, *accumulate(lengths)], device=device) for lengths in (queries, keys)]
    positions = torch.tensor([[]], device=device)  # which attention does not look at
    if dtype == torch.bfloat16 and device == "cpu" and kernels.backend(inputs[0]) is not cpu:
        pytest.skip("Triton's interpreter multiplies no bfloat16")
    found = short_attention(*inputs, Ragged(*(Sentences(each, positions, 20) for each in starts)), causal)
    assert found is not None
    coarse = 1 if kernels.backend(inputs[0]) is cpu else 8  # a GPU's exponential
    tolerance = coarse * (1e-6 if dtype == torch.float32 else 2**-8)
    for sentence, (query, key) in enumerate(zip(queries, keys, strict=True)):
        own = [slice(int(start[sentence]), int(start[sentence + 1])) for start in starts]
        places = own[0], own[1], own[1]
        alike = zip(inputs, places, strict=True)
        parts = [each[:, :, place].detach().float().requires_grad_() for each, place in alike]
        seen = torch.ones(query, key, device=device).tril() > 0 if causal else None
        alone, _ = scaled_dot_product_attention(*parts, seen)
        torch.testing.assert_close(found[:, :, own[0]].float(), alone, rtol=tolerance, atol=tolerance)
        above = torch.randn_like(alone)
        gradients = torch.autograd.grad(found[:, :, own[0]].float(), inputs, above, retain_graph=True)
        wanted = torch.autograd.grad(alone, parts, above)
        for each, want, place in zip(gradients, wanted, places, strict=True):
            torch.testing.assert_close(each[:, :, place].float(), want, rtol=4 * tolerance, atol=4 * tolerance)
            assert each.count_nonzero() == each[:, :, place].count_nonzero()  # no other sentence's


@pytest.mark.parametrize(("queries", "widths"), [(7, [6, 6, 10]), (5, [6, 10])], ids=["self", "memory"])
def test_gradients_of_one_projection_are_joined_where_they_stand(
    queries: int, widths: list[int], monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    torch.manual_seed(1)
    packed = torch.randn(3, 7, sum(widths), device=device, requires_grad=True)
    alone = torch.randn(3, queries, 6, device=device)

    def gradient(parts: tuple[torch.Tensor, ...]) -> torch.Tensor:
        query, key, value = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in (alone, *parts)[-3:])
        context = short_attention(query, key, value, None, False)
        assert context is not None
        [grad] = torch.autograd.grad(context.square().sum(), packed)
        return grad

    wanted = gradient(torch.split(packed, widths, -1))
    monkeypatch.setattr(torch, "cat", None)
    torch.testing.assert_close(gradient(split(packed, widths)), wanted)


def test_gradients_that_stand_elsewhere_are_joined_too(device: str) -> None:
    packed, above = torch.randn(3, 7, 11, device=device, requires_grad=True), torch.randn(3, 7, 11, device=device)
    across = torch.randn(3, 11, 7, device=device).transpose(1, 2)
    for left, right in (
        (above[..., 6:], above[..., :6]),
        (above[..., :5], above[..., 4:10]),
        (above[..., :5], torch.randn(3, 7, 6, device=device)),
        (across[..., :5], across[..., 5:]),
    ):
        grad = torch.autograd.grad(split(packed, [5, 6]), packed, (left, right))
        torch.testing.assert_close(grad, (torch.cat((left, right), -1),))


def _case(vocab: int, device: str) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(1)
    first, second = (3 * torch.randn(6, vocab, device=device) for _ in range(2))
    target = torch.randint(vocab, (6,), device=device)
    target[2] = -1
    return first, second, target


@pytest.mark.parametrize("vocab", [31, 5000])
def test_cross_entropy_and_its_gradient(vocab: int, device: str) -> None:
    logits, _, target = _case(vocab, device)
    plain = logits.clone().requires_grad_()
    real = target >= 0
    wanted = label_smoothed_cross_entropy(plain[real], target[real], 0.1)
    smoothed, likelihood = backend_of(logits).cross_entropy_rows(logits, target, 0.1)
    torch.testing.assert_close((smoothed.sum(), likelihood.sum()), wanted)
    torch.testing.assert_close((logits,), torch.autograd.grad(wanted[0], plain), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("vocab", [31, 5000])
def test_consistency_and_its_gradients(vocab: int, device: str) -> None:
    first, second, target = _case(vocab, device)
    plain = first.clone().requires_grad_(), second.clone().requires_grad_()
    real = target >= 0
    wanted = consistent_cross_entropy((plain[0][real], plain[1][real]), target[real], 0.1, 3.0)
    loss, likelihood = backend_of(first).consistency_rows(first, second, target, 0.1, 3.0)
    torch.testing.assert_close((loss.sum(), likelihood.sum()), wanted)
    torch.testing.assert_close((first, second), torch.autograd.grad(wanted[0], plain), rtol=1e-4, atol=1e-6)
