"""Sentences in one row without padding: the same states and gradients as with it, for whatever can be packed."""

from typing import Any

import pytest
import torch
from torch import Tensor

from heedful import kernels
from heedful.data.batches import real_places
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.packing import Packing
from heedful.model.seq2seq import Seq2Seq
from heedful.model.transformer import Transformer
from tests.marks import compiled

Model = Seq2Seq[Any, Any]


def test_tokens_go_into_a_row_and_back() -> None:
    mask = torch.tensor([[True, True, False], [True, False, False], [True, True, True]])
    packing = Packing.of(mask)
    x = torch.arange(9).view(3, 3)
    assert packing.pack(x).tolist() == [[0, 1, 3, 6, 7, 8]]
    assert packing.sentences.starts.tolist() == [0, 2, 3, 6]
    assert packing.sentences.positions.tolist() == [[0, 1, 0, 0, 1, 2]]
    assert packing.sentences.longest == 3
    assert packing.unpack(packing.pack(x.unsqueeze(2)), mask).squeeze(2).tolist() == [[0, 1, 0], [3, 0, 0], [6, 7, 8]]


def test_real_states_and_their_gradients_are_those_of_the_padded_batch(model: Model, pairs: Any) -> None:
    model.train()
    places, weights = real_places(pairs.target_mask), list(model.parameters())

    def results(states: Tensor) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(3)
        loss = (states * torch.randn(states.shape, generator=generator)).sum()
        return states, *torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True)

    buffers = {name: each.clone() for name, each in model.named_buffers()}
    packed = results(model.real_states(*pairs, places))
    after = {name: each.clone() for name, each in model.named_buffers()}
    model.load_state_dict(buffers, strict=False)
    padded = results(model(*pairs).flatten(0, 1)[places])
    torch.testing.assert_close(packed, padded, rtol=5e-5, atol=5e-5)
    torch.testing.assert_close(after, dict(model.named_buffers()))  # BatchNorm's statistics are of real tokens


@compiled
def test_who_packs(model: Model, pairs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every Transformer but those with restricted attention; nobody without a kernel or without gradients."""
    packed: list[Any] = []
    monkeypatch.setattr(Packing, "pack", lambda self, x, own=Packing.pack: packed.append(x) or own(self, x))
    places, restricted = real_places(pairs.target_mask), "RestrictedAttention" in str(model)
    model.real_states(*pairs, places)
    assert bool(packed) == (isinstance(model, Transformer) and not restricted)
    packed.clear()
    with kernels.plain():
        model.real_states(*pairs, places)
    with torch.no_grad():
        model.real_states(*pairs, places)
    assert not packed


@compiled
def test_dropped_attention_weights_are_not_packed() -> None:
    """The kernel knows no dropout."""
    config = TransformerConfig(layers=2, d_model=16, d_ff=8, heads=2, attention_dropout=0.5)
    model = build_model(config, 37, 37)
    assert isinstance(model, Transformer)
    assert not model.encoder.packs(3)
    assert not model.decoder.packs(3, 3)
    model.eval()
    assert model.encoder.packs(3)
    assert model.decoder.packs(3, 3)
