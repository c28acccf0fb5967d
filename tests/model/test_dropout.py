import math

import pytest
import torch

from heedful.model.dropout import Dropout

SIZE = (257, 1021)  # primes: the last draw of 64 bits is not used up
N = 257 * 1021


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.9])
def test_drops_with_probability_p_and_scales_the_rest(p) -> None:
    torch.manual_seed(1)
    y = Dropout(p)(torch.ones(SIZE))
    kept = (y != 0).sum().item()
    assert abs(kept - N * (1 - p)) < 4.5 * math.sqrt(N * p * (1 - p))
    torch.testing.assert_close(y[y != 0], torch.full((kept,), 1 / (1 - p)), atol=0, rtol=2e-4 if p > 0.8 else 4e-5)
    quantised = round(p * 65536) / 65536
    # the mean is exact for the probability in use: five deviations of the mean of kept / (1 - p)
    assert abs(y.double().mean().item() - 1) < 5 * math.sqrt(quantised / (1 - quantised) / N)


def test_the_four_components_of_a_draw_are_independent() -> None:
    """Each sixteen bits of a 64-bit word drop at the same rate, and no two of them together more than chance."""
    torch.manual_seed(2)
    lanes = (Dropout(0.3)(torch.ones(200_000, 4)) == 0).double()
    torch.testing.assert_close(lanes.mean(0), torch.full((4,), 0.3, dtype=torch.float64), atol=0.005, rtol=0)
    correlation = torch.corrcoef(lanes.T) - torch.eye(4)
    assert correlation.abs().max() < 0.012
    following = torch.corrcoef(torch.stack((lanes[:-1, 3], lanes[1:, 0])))
    assert following[0, 1].abs() < 0.012


def test_gradient_has_the_mask_of_the_forward_pass() -> None:
    x = torch.randn(SIZE, requires_grad=True)
    y = Dropout(0.4)(x)
    y.backward(torch.full(SIZE, 3.0))
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.where(y == 0, 0.0, 3.0 / 0.6), atol=0, rtol=1e-4)
    torch.testing.assert_close(y, x * x.grad / 3.0)


def test_seed_repeats_it_and_another_changes_it() -> None:
    results = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        results.append(torch.stack([Dropout(0.2)(torch.ones(SIZE)) for _ in range(2)]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    assert not torch.equal(results[0][0], results[0][1])


def test_the_number_of_threads_changes_nothing() -> None:
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(3)
            results.append(Dropout(0.2)(torch.ones(SIZE)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*results)


def test_evaluation_and_p_zero_are_the_identity_and_draw_nothing() -> None:
    x = torch.randn(SIZE)
    before = torch.get_rng_state()
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("p", [1e-7, 1 - 1e-7])
def test_probabilities_beyond_sixteen_bits_stay_finite(p) -> None:
    y = Dropout(p)(torch.ones(SIZE))
    assert y.isfinite().all()
    assert ((y != 0).double().mean() - (1 - p)).abs() < 1e-3


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_keeps_dtype_and_shape_of_strided_and_empty_tensors(dtype) -> None:
    x = torch.ones(5, 7, 3, dtype=dtype).transpose(0, 2)
    y = Dropout(0.5)(x)
    assert (y.dtype, y.shape) == (dtype, (3, 7, 5))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert Dropout(0.5)(torch.ones(0, 3, dtype=dtype)).shape == (0, 3)
