import math

import pytest
import torch

from heedful.model.dropout import Dropout
from heedful.model.embedding import InputEmbedding, TokenEmbedding
from heedful.model.positions import LearnedPositions, NoPositions, SinusoidalPositions


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
