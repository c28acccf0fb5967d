"""What trainer, search and inspector rely on, for every kind of model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from heedful.model.seq2seq import Seq2Seq

Model = Seq2Seq[Any, Any]
BOS = 2


def _next_log_probs(model: Model, memory: Any, history: Tensor) -> Tensor:
    """Without a cache: the whole history again, for one sentence."""
    hidden = model.decode(memory, history, torch.ones_like(history, dtype=torch.bool))
    return F.log_softmax(model.project(hidden[:, -1]), dim=-1)


def test_cached_steps_equal_the_uncached_decoder(model: Model, pairs: Any) -> None:
    """Twelve steps of three sequences a sentence, mixed within their sentence; sentences leave on the way."""
    model.eval()
    beam, generator = 3, torch.Generator().manual_seed(5)
    alive = torch.arange(len(pairs.source))
    with torch.no_grad():
        # one sentence at a time and cut to its length, so that the reference knows no batch and no padding
        alone = [
            model.encode(source[None, :n], torch.ones(1, n, dtype=torch.bool))
            for source, n in zip(pairs.source, pairs.source_mask.sum(1).tolist(), strict=True)
        ]
        state = model.start(model.encode(pairs.source, pairs.source_mask), beam)
        tokens = torch.full((len(alive) * beam,), BOS)
        history = tokens.unsqueeze(1)
        worst = 0.0
        for position in range(12):
            logits, state = model.step(tokens, state)
            log_probs = F.log_softmax(logits, dim=-1)
            for row, before in enumerate(history):
                expected = _next_log_probs(model, alone[int(alive[row // beam])], before.unsqueeze(0))
                worst = max(worst, (log_probs[row] - expected[0]).abs().max().item())
            if position in (3, 7):
                kept = torch.tensor([2, 0] if position == 7 else [0, 1, 3, 4])
                state, alive = state.select(kept), alive[kept]
                history = history.view(-1, beam, history.size(1))[kept].flatten(0, 1)
            choice = torch.randint(beam, (len(alive), beam), generator=generator)
            rows = (choice + torch.arange(len(alive)).unsqueeze(1) * beam).flatten()
            state = state.reorder(rows)
            tokens = torch.randint(4, 37, (len(rows),), generator=generator)
            history = torch.cat((history[rows], tokens.unsqueeze(1)), dim=1)
    assert worst <= 1e-5


@pytest.mark.parametrize("training", [True, False])
def test_amount_of_padding_changes_nothing(model: Model, pairs: Any, training: bool) -> None:
    model.train(training)
    hidden = model(*pairs)
    wider = (F.pad(x, (0, extra)) for x, extra in zip(pairs, (5, 5, 3, 3), strict=True))
    padded = model(*wider)[:, : hidden.size(1)]
    real = pairs.target_mask
    torch.testing.assert_close(padded[real], hidden[real], atol=1e-5, rtol=0)


def test_what_stands_in_the_padding_changes_nothing(model: Model, pairs: Any) -> None:
    source, source_mask, target, target_mask = pairs
    hidden = model(*pairs)
    other = model(source.where(source_mask, 9), source_mask, target.where(target_mask, 9), target_mask)
    torch.testing.assert_close(other[target_mask], hidden[target_mask], atol=1e-6, rtol=0)


def test_every_real_source_token_matters_to_every_position(model: Model, make: Callable[..., Any]) -> None:
    model.eval()
    source, source_mask, target, target_mask = make([7], [3])
    before = model(source, source_mask, target, target_mask)
    for position in range(7):
        changed = source.clone()
        changed[0, position] = 4 if source[0, position] != 4 else 5
        after = model(changed, source_mask, target, target_mask)
        assert ((after - before).abs().amax(-1) > 1e-7).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_no_position_sees_a_later_one(
    model: Model, make: Callable[..., Any], dtype: torch.dtype, request: pytest.FixtureRequest
) -> None:
    """In evaluation: in training, BatchNorm's statistics are the known exception."""
    model.eval().to(dtype)
    source, source_mask, target, target_mask = make([5], [7])
    before = model(source, source_mask, target, target_mask)
    seen = 0
    for position in range(7):
        changed = target.clone()
        changed[0, position] = 4 if target[0, position] != 4 else 5
        after = model(source, source_mask, changed, target_mask)
        assert torch.equal(after[:, :position], before[:, :position])
        seen += not torch.equal(after[:, position:], before[:, position:])
    # not always all: without skip connections a dead ReLU swallows what is before it, or float32's precision does
    assert seen or (dtype == torch.float32 and request.node.callspec.params["model"] == "nonorm-noskip")


@pytest.mark.parametrize("training", [True, False])
def test_recorded_attention_is_distributions_over_real_tokens(model: Model, pairs: Any, training: bool) -> None:
    model.train(training)
    source_mask, target_mask = pairs.source_mask, pairs.target_mask
    record = model.attention(*pairs)
    kinds = {
        "encoder": (record.encoder, source_mask, source_mask),
        "decoder": (record.decoder, target_mask, target_mask),
        "cross": (record.cross, target_mask, source_mask),
    }
    for name, (layers, queries, keys) in kinds.items():
        for weights in layers or ():
            batch, _, query, key = weights.shape
            assert (batch, query, key) == (*queries.shape, keys.size(1)), name
            rows = weights.transpose(1, 2)[queries]  # [real queries, heads, key]
            torch.testing.assert_close(rows.sum(-1), torch.ones(rows.shape[:2]), atol=1e-6, rtol=0)
            assert (weights * ~keys[:, None, None, :]).abs().max() == 0
            if name == "decoder":
                assert weights.triu(1).abs().max() == 0
    assert (record.cross is None) == (record.encoder is None and getattr(model.decoder, "attention", None) is None)


def test_gradients_reach_every_weight_and_are_finite(model: Model, pairs: Any) -> None:
    hidden = model(*pairs)
    logits = model.project(hidden)
    F.cross_entropy(logits[pairs.target_mask], pairs.target[pairs.target_mask]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_source_of_nothing_but_padding_is_no_nan(model: Model, make: Callable[..., Any]) -> None:
    source, source_mask, target, target_mask = make([5, 3], [3, 7])
    source_mask = source_mask.clone()
    source_mask[1] = False
    hidden = model(source, source_mask, target, target_mask)
    hidden.square().sum().backward()
    assert hidden.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
