"""Packed batches: nothing of a batch is lost, and what is added to fit few shapes changes nothing."""

import pytest
import torch

from heedful import kernels
from heedful.data.batches import Batch
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.transformer import Transformer
from heedful.training.objective import Objective
from heedful.training.packed import PackedBatch
from tests.marks import compiled
from tests.training.random_batch import VOCAB, random_batch


def _pairs(packed: PackedBatch) -> list[tuple[list[int], list[int], list[int]]]:
    """Source, and what the decoder reads and predicts, of each sentence."""
    (target, source), pairs = packed.sentences, []
    for number in range(packed.shape.sentences):
        read, written = (slice(*each.starts[number : number + 2].tolist()) for each in (source, target))
        tokens = packed.source[0, read], packed.target_input[0, written], packed.target_output[written]
        for side, part in ((source, read), (target, written)):
            assert side.positions[0, part].tolist() == list(range(part.stop - part.start))
            assert part.stop - part.start <= side.longest
        pairs.append(tuple(each.tolist() for each in tokens))
    return pairs  # type: ignore[return-value]


def _unpadded(batch: Batch) -> list[tuple[list[int], list[int], list[int]]]:
    rows = zip(*batch.by_pair, strict=True)
    return [
        (source[seen].tolist(), read[real].tolist(), wanted[real].tolist()) for source, seen, read, wanted, real in rows
    ]


def test_a_batch_s_pairs_are_all_there_once_and_twice() -> None:
    batch = random_batch(7, 12)
    packed = PackedBatch.of(batch)
    assert packed.shape.target == batch.target_tokens
    assert _pairs(packed) == _unpadded(batch)
    assert _pairs(packed.twice()) == _unpadded(batch) * 2


@pytest.mark.parametrize(("rows", "longest"), [(1, 1), (7, 12), (40, 3), (130, 40), (3, 64)])
def test_what_a_fitted_batch_has_more_is_nothing_to_predict(rows: int, longest: int) -> None:
    batch = random_batch(rows, longest)
    packed = PackedBatch.of(batch)
    fitted = packed.fitted()
    pairs = _pairs(fitted)
    assert pairs[:rows] == _unpadded(batch)
    assert all(wanted == -1 for _, _, target in pairs[rows:] for wanted in target)
    assert fitted.sentences.keys.starts[-1] == fitted.shape.source == fitted.source.size(1)
    assert fitted.sentences.queries.starts[-1] == fitted.shape.target == len(fitted.target_output)
    for before, after in zip(packed.shape[1:3], fitted.shape[1:3], strict=True):
        assert before <= after < max(before * 17 / 16, before + 128)
    full = [pair for pair in pairs if pair != ([], [], [])]
    assert len(full) <= len(pairs) < max(5 / 4 * len(full), len(full) + 16)


def test_few_shapes_are_left() -> None:
    plain, fitted = set(), set()
    for seed in range(300):
        longest = 5 + seed % 40
        packed = PackedBatch.of(random_batch(2048 // (longest + 1), longest, seed))
        plain.add(packed.shape)
        fitted.add(packed.fitted().shape)
    assert len(plain) == 300
    assert len(fitted) < 100


@compiled
@pytest.mark.parametrize("consistency", [0.0, 3.0])
@pytest.mark.parametrize("positions", ["sinusoidal", "learned", "rotary"])
def test_loss_and_gradients_are_those_of_the_padded_batch(positions: str, consistency: float) -> None:
    torch.manual_seed(1)
    config = TransformerConfig(layers=2, d_model=16, d_ff=32, heads=2, dropout=0.0, positions=positions)
    model = build_model(config, VOCAB, VOCAB).train()
    assert isinstance(model, Transformer)
    assert model.packs(10, 10)
    objective, batch = Objective(model, 0.1), random_batch(13, 9)
    parameters = list(objective.parameters())

    def results(given: Batch | PackedBatch) -> tuple[torch.Tensor, ...]:
        loss, likelihood = objective(given, consistency)
        return loss, likelihood, *torch.autograd.grad(loss, parameters)

    with kernels.plain():  # which packs nothing
        wanted = results(batch)
    packed = PackedBatch.of(batch)
    for each in (packed, packed.fitted()):
        torch.testing.assert_close(results(each), wanted, rtol=1e-4, atol=1e-4)
