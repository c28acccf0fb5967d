"""Section 3.5: positional encoding."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.positions import LearnedPositions, SinusoidalPositions, sinusoids


@pytest.mark.parametrize("d_model", [14, 512])
def test_sine_and_cosine_interleave_with_exponent_2i_over_d_model(d_model) -> None:
    table = sinusoids(101, d_model)
    for position in (0, 1, 2, 17, 100):
        for i in range(d_model // 2):
            angle = position / 10000 ** (2 * i / d_model)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_wavelengths_run_from_2_pi_to_nearly_10000_times_that() -> None:
    """A geometric progression: the first pair turns once in 2π, the last in 10000^((d-2)/d) · 2π."""
    table = sinusoids(2, 512).double()
    turn = torch.atan2(table[1, 0::2], table[1, 1::2])  # from position 0, whose angles are zero
    wavelengths = (2 * math.pi / turn).tolist()
    assert wavelengths[0] == pytest.approx(2 * math.pi, rel=1e-6)
    assert wavelengths[-1] == pytest.approx(10000 ** (510 / 512) * 2 * math.pi, rel=1e-5)
    for shorter, longer in pairwise(wavelengths):
        assert longer / shorter == pytest.approx(10000 ** (2 / 512), rel=1e-5)
    # counted, not computed: the slowest sine changes its sign after half a turn
    half = round(wavelengths[-1] / 2)
    assert sinusoids(1, 512, start=half - 20)[0, 510] > 0 > sinusoids(1, 512, start=half + 20)[0, 510]


@pytest.mark.parametrize("k", [1, 7, -3])
def test_a_shift_is_one_linear_map_whatever_the_position(k) -> None:
    """PE(pos + k) = R(k)PE(pos) with a rotation in each (sin, cos) plane: relative positions are linear."""
    d_model = 22
    table = sinusoids(211, d_model).double()
    R = torch.zeros(d_model, d_model, dtype=torch.float64)
    for i in range(0, d_model, 2):
        turn = k / 10000 ** (i / d_model)
        R[i : i + 2, i : i + 2] = torch.tensor(
            [[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]], dtype=torch.float64
        )
    positions = torch.arange(3, 200)
    torch.testing.assert_close(table[positions] @ R.T, table[positions + k], atol=1e-6, rtol=0)


def test_learned_positions_are_added_instead() -> None:
    """Row (E) of Table 3."""
    x, positions = torch.randn(3, 5, 14), LearnedPositions(11, 14)
    torch.testing.assert_close(positions(x), x + positions.weight[:5])
    assert positions.weight.requires_grad
    model: Any = build_model(TransformerConfig(layers=1, d_model=14, d_ff=7, heads=2, positions="learned"), 37, 37)
    assert isinstance(model.source_input.positions, LearnedPositions)


def test_positions_are_added_to_the_embeddings() -> None:
    x = torch.randn(3, 5, 14)
    torch.testing.assert_close(SinusoidalPositions(14)(x) - x, sinusoids(5, 14).expand(3, 5, 14), atol=1e-6, rtol=0)


def test_sinusoids_reach_further_than_any_sequence_seen() -> None:
    """Why the paper chose them: no table ends. A longer one begins as the shorter one did."""
    module = SinusoidalPositions(14)
    short = module(torch.zeros(1, 7, 14))
    long = module(torch.zeros(1, 5003, 14))
    torch.testing.assert_close(long[:, :7], short)
    assert long[0, 5002, 0].item() == pytest.approx(math.sin(5002), abs=1e-5)
    torch.testing.assert_close(module(torch.zeros(1, 1, 14), start=5002), long[:, 5002:])
