import math

import pytest
import torch

from heedful.model.dropout import Dropout
from heedful.model.embedding import InputEmbedding, TokenEmbedding
from heedful.model.positions import LearnedPositions, NoPositions, RotaryPositions, SinusoidalPositions


@pytest.mark.parametrize("d_model", [8, 13])
def test_sinusoids_reach_as_far_as_they_are_asked(d_model) -> None:
    positions = SinusoidalPositions(d_model)
    short = positions(torch.zeros(2, 5, d_model))
    long = positions(torch.zeros(1, 1009, d_model))
    assert torch.equal(long[0, :5], short[1])
    assert torch.equal(positions(torch.zeros(1, 3, d_model), 1006)[0], long[0, 1006:])
    assert long[0, 1000, 0] == pytest.approx(math.sin(1000), abs=1e-6)


def test_sinusoids_are_not_saved() -> None:
    assert not SinusoidalPositions(8).state_dict()


def test_learned_positions_beyond_their_reach_are_the_last_one() -> None:
    positions = LearnedPositions(5, 3)
    rows = positions(torch.zeros(1, 11, 3))[0]
    assert torch.equal(rows[:5], positions.weight)
    assert torch.equal(rows[5:], positions.weight[4].expand(6, 3))
    assert torch.equal(positions(torch.zeros(1, 2, 3), 3)[0], rows[3:5])
    assert torch.equal(positions(torch.zeros(1, 1, 3), 10**9)[0], rows[4:5])


@pytest.mark.parametrize("start", [0, 250, 1000])
def test_rotary_positions_turn_pairs_of_components_as_complex_numbers(start) -> None:
    """x · e^{i m θ}, θ = 10000^(-2i/d_k) (Su et al. 2021, Section 3.2.2)."""
    x = torch.randn(2, 3, 11, 8, dtype=torch.float64)
    angle = torch.arange(start, start + 11).double()[:, None] * 10_000.0 ** (-torch.arange(4).double() / 4)
    turned = torch.complex(x[..., :4], x[..., 4:]) * torch.polar(torch.ones_like(angle), angle)
    expected = torch.cat((turned.real, turned.imag), dim=-1)
    torch.testing.assert_close(RotaryPositions(8)(x.float(), start).double(), expected, atol=1e-5, rtol=0)


def test_rotary_products_depend_on_the_distance_alone() -> None:
    query, key = torch.randn(2, 1, 1, 1, 16)
    rotary = RotaryPositions(16)

    def product(query_at: int, key_at: int) -> float:
        return float((rotary(query, query_at) * rotary(key, key_at)).sum())

    assert product(7, 3) == pytest.approx(product(304, 300), abs=1e-4)
    assert product(7, 3) != pytest.approx(product(7, 4), abs=1e-2)


def test_each_sequence_may_stand_at_positions_of_its_own() -> None:
    x, rotary, places = torch.randn(2, 3, 4, 8), RotaryPositions(8), torch.tensor([[5, 0, 5, 200], [1, 1, 2, 3]])
    turned = rotary.turn(x, places)
    for row, positions in enumerate(places.tolist()):
        for place, position in enumerate(positions):
            alone = rotary(x[row : row + 1, :, place : place + 1], position)
            assert torch.equal(turned[row, :, place], alone[0, :, 0])


def test_rotary_positions_are_not_saved() -> None:
    assert not RotaryPositions(8).state_dict()


def test_no_positions_is_the_identity() -> None:
    x = torch.randn(2, 3, 5)
    assert NoPositions()(x, 7) is x


def test_input_is_dropout_of_scaled_embedding_plus_position() -> None:
    torch.manual_seed(0)
    tokens = TokenEmbedding(31, 16)
    layer = InputEmbedding(tokens, SinusoidalPositions(16), Dropout(0.5))
    ids = torch.tensor([[4, 5, 30]])
    expected = SinusoidalPositions(16)(tokens.weight[ids] * 4.0, 2)
    torch.testing.assert_close(layer.eval()(ids, 2), expected)
    dropped = layer.train()(ids, 2)
    assert (dropped == 0).any()
    torch.testing.assert_close(dropped[dropped != 0], 2 * expected[dropped != 0])


def test_embedding_starts_with_variance_one_over_d_model() -> None:
    torch.manual_seed(0)
    weight = TokenEmbedding(4001, 64).weight
    assert weight.std().item() == pytest.approx(1 / 8, rel=0.01)
    assert weight.mean().item() == pytest.approx(0, abs=1e-3)
