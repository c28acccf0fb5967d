"""Every filter leaves exactly what it shall, with its log-probability."""

import torch
from torch import Tensor

from heedful.decoding.choosers import BeamSearch
from heedful.decoding.filters import Ban, BeginWith, EndBy
from heedful.decoding.penalty import PENALTIES
from heedful.decoding.search import search

from .conftest import BOS, EOS, History, step

VOCAB = 7
SENTENCES = torch.tensor([0, 0, 1, 1, 2, 2])


def left_by(filtered: Tensor, before: Tensor) -> list[list[int]]:
    """Tokens that remain in each row; they are unchanged."""
    kept = filtered > -torch.inf
    assert torch.equal(filtered[kept], before[kept])
    return [row.nonzero().flatten().tolist() for row in kept]


def scores() -> Tensor:
    return torch.randn(len(SENTENCES), VOCAB, generator=torch.Generator().manual_seed(1))


def so_far(length: int) -> Tensor:
    return torch.zeros(len(SENTENCES), length, dtype=torch.int64)


def test_ban() -> None:
    assert left_by(Ban((0, 5))(scores(), so_far(3), SENTENCES), scores()) == [[1, 2, 3, 4, 6]] * 6


def test_begin_with() -> None:
    prefix = BeginWith([[4, 2], [], [6]])
    everything = list(range(VOCAB))
    first, second, third = (left_by(prefix(scores(), so_far(n), SENTENCES), scores()) for n in range(3))
    assert first == [[4], [4], everything, everything, [6], [6]]
    assert second == [[2], [2], *[everything] * 4]
    assert third == [everything] * 6
    assert left_by(BeginWith([[], []])(scores(), so_far(0), SENTENCES), scores()) == [everything] * 6


def test_end_by() -> None:
    end = EndBy(torch.tensor([3, 2, 5]), eos=1)
    everything = list(range(VOCAB))
    lengths = [left_by(end(scores(), so_far(n), SENTENCES), scores()) for n in range(5)]
    assert lengths[0] == [everything] * 6
    assert lengths[1] == [everything, everything, [1], [1], everything, everything]
    assert lengths[2] == [[1], [1], [1], [1], everything, everything]
    assert lengths[4] == [[1]] * 6


def test_a_prefix_in_a_search_begins_every_hypothesis() -> None:
    prefixes = [[3, 4], [], [2, 2, 2]]
    found = search(
        step,
        History.start(3, 5),
        bos=BOS,
        eos=EOS,
        max_lengths=torch.tensor([7, 7, 7]),
        chooser=BeamSearch(5),
        penalty=PENALTIES["paper"](0.6),
        filters=[BeginWith(prefixes)],
        n_best=5,
    )
    for prefix, hypotheses in zip(prefixes, found, strict=True):
        assert len(hypotheses) == 5
        assert all(list(each.tokens[: len(prefix)]) == prefix for each in hypotheses)
