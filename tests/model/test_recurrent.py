"""The fixed-length bottleneck is one; hs, and only hs, is what attention adds."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import nn

from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig

VOCAB = 37
SMALL = RecurrentConfig(d_model=14, d_embedding=11, layers=2, dropout=0.0)


def _source(*lengths: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(1)
    return torch.randint(4, VOCAB, mask.shape).where(mask, 0), mask


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_without_attention_the_memory_is_the_final_states_of_fixed_size(cell, bidirectional) -> None:
    torch.manual_seed(0)
    model: Any = build_model(replace(SMALL, cell=cell, bidirectional=bidirectional), VOCAB, VOCAB)
    sizes = []
    for length in (3, 101):
        memory = model.encode(*_source(length))
        assert memory.annotations is None
        assert {field.name for field in fields(memory)} == {"final", "annotations"}
        sizes.append([tuple(state.shape) for state in memory.final])
    assert sizes[0] == sizes[1] == [(2, 1, 14)] * (2 if cell == "lstm" else 1)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_without_attention_outputs_depend_on_the_source_through_the_final_states_alone(cell) -> None:
    torch.manual_seed(0)
    model: Any = build_model(replace(SMALL, cell=cell), VOCAB, VOCAB)
    target, mask = _source(7, 5)
    memory = model.encode(*_source(11, 5))
    encoder = list(model.encoder.parameters())
    with_path = model.decode(memory, target, mask).square().sum()
    assert all(g is not None for g in torch.autograd.grad(with_path, encoder, allow_unused=True))
    cut = replace(memory, final=tuple(state.detach() for state in memory.final))
    outputs = model.decode(cut, target, mask)
    assert all(g is None for g in torch.autograd.grad(outputs.square().sum(), encoder, allow_unused=True))


def test_without_attention_the_final_states_only_initialise() -> None:
    """Whatever state the decoder is put into, it goes on from there and knows nothing else of the source."""
    torch.manual_seed(0)
    model: Any = build_model(SMALL, VOCAB, VOCAB).eval()
    one, other = (model.start(model.encode(*_source(n)), beam=1) for n in (5, 11))
    token = torch.tensor([4])
    assert not torch.equal(model.step(token, one)[0], model.step(token, other)[0])
    transplanted = replace(other, hidden=one.hidden)
    for _ in range(3):
        logits, one = model.step(token, one)
        expected, transplanted = model.step(token, transplanted)
        assert torch.equal(logits, expected)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_final_states_are_those_after_the_last_real_token(cell, bidirectional) -> None:
    """By hand: every layer and direction of every sentence alone, one cell after the other."""
    torch.manual_seed(0)
    model: Any = build_model(replace(SMALL, cell=cell, bidirectional=bidirectional), VOCAB, VOCAB)
    source, mask = _source(7, 3, 5)
    memory = model.encode(source, mask)
    network = model.encoder.network
    width = network.hidden_size
    for i, length in enumerate(mask.sum(1).tolist()):
        sequence = list(model.encoder.tokens(source[i, :length]).unbind(0))
        for layer in range(2):
            outputs, finals = [], []
            for suffix in ("", "_reverse") if bidirectional else ("",):
                step = (nn.LSTMCell if cell == "lstm" else nn.GRUCell)(len(sequence[0]), width)
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                    getattr(step, name).data = getattr(network, f"{name}_l{layer}{suffix}").data
                state: Any = None
                direction = []
                for x in reversed(sequence) if suffix else sequence:
                    state = step(x, state)
                    direction.append(state[0] if cell == "lstm" else state)
                outputs.append(direction[::-1] if suffix else direction)
                finals.append(state if cell == "lstm" else (state,))
            sequence = [torch.cat(pair) for pair in zip(*outputs, strict=True)]
            for part, state in zip(memory.final, zip(*finals, strict=True), strict=True):
                torch.testing.assert_close(part[layer, i], torch.cat(state), atol=1e-6, rtol=1e-5)


def test_with_attention_every_hidden_state_is_handed_over() -> None:
    torch.manual_seed(0)
    model: Any = build_model(replace(SMALL, attention="dot"), VOCAB, VOCAB)
    source, mask = _source(7, 3)
    memory = model.encode(source, mask)
    hs, final = model.encoder(source, mask)
    assert torch.equal(memory.annotations.hs, hs)
    assert hs.shape == (2, 7, 14)
    assert hs[1, 3:].abs().max() == 0
    # the forward half of hs ends, and the backward half begins, with the last layer's final state
    torch.testing.assert_close(hs[1, 2, :7], final[0][1, 1, :7])
    torch.testing.assert_close(hs[1, 0, 7:], final[0][1, 1, 7:])


def test_input_feeding_sees_the_last_attentional_vector() -> None:
    torch.manual_seed(0)
    model: Any = build_model(replace(SMALL, attention="general", input_feeding=True), VOCAB, VOCAB).eval()
    state = model.start(model.encode(*_source(5)), beam=1)
    assert state.attentional.abs().max() == 0
    token = torch.tensor([4])
    _, state = model.step(token, state)
    assert state.attentional.abs().max() > 0
    fed, _ = model.step(token, state)
    unfed, _ = model.step(token, replace(state, attentional=torch.zeros_like(state.attentional)))
    assert not torch.allclose(fed, unfed)


def test_context_vector_is_in_every_step() -> None:
    """Same hidden state, other hs: the logits change at every step."""
    torch.manual_seed(0)
    model: Any = build_model(replace(SMALL, attention="dot"), VOCAB, VOCAB).eval()
    state = model.start(model.encode(*_source(5)), beam=1)
    for _ in range(3):
        other = replace(state, annotations=replace(state.annotations, hs=state.annotations.hs.flip(-1)))
        logits, after = model.step(torch.tensor([4]), state)
        assert not torch.allclose(model.step(torch.tensor([4]), other)[0], logits)
        state = after
