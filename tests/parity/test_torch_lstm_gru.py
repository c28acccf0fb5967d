"""Same weights as torch.nn.LSTM and GRU with an attention step written by hand, sentence by sentence."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from heedful.data.batches import real_places
from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig
from heedful.model.masks import padding_mask

VOCAB, D, E, LAYERS = 37, 22, 13, 2
CONFIG = RecurrentConfig(d_model=D, d_embedding=E, layers=LAYERS, dropout=0.0)


def _score(model: Any, kind: str, h: Tensor, s: Tensor) -> Tensor:
    score = model.decoder.attention.attention_weight.score
    if kind == "dot":
        return h @ s
    if kind == "general":
        return h @ score.map.weight.T @ s
    return score.sum.weight[0] @ torch.tanh(score.query.weight @ h + score.key.weight @ s)


def _by_hand(model: Any, config: RecurrentConfig, source: Tensor, target: Tensor) -> Tensor:
    """One sentence without padding, one target token after the other."""
    cell = nn.LSTM if config.cell == "lstm" else nn.GRU
    width = D // 2 if config.bidirectional else D
    encoder = cell(E, width, LAYERS, batch_first=True, bidirectional=config.bidirectional)
    feeds = D if config.input_feeding else 0
    decoder = cell(E + feeds, D, LAYERS, batch_first=True)
    E_source, E_target = model.encoder.tokens.weight * E**0.5, model.decoder.tokens.weight * E**0.5

    def run(network: nn.Module, ours: nn.Module, *inputs: Any) -> Any:
        return torch.func.functional_call(network, dict(ours.named_parameters()), inputs)

    hs, final = run(encoder, model.encoder.network, E_source[source].unsqueeze(0))
    finals = final if config.cell == "lstm" else (final,)
    if config.bidirectional:  # rows are layer by layer, forward then backward
        finals = tuple(torch.stack([torch.cat((f[2 * i], f[2 * i + 1]), -1) for i in range(LAYERS)]) for f in finals)
    state = finals if config.cell == "lstm" else finals[0]
    attentional, outputs = torch.zeros(D), []
    for token in target:
        x = E_target[token]
        if config.input_feeding:
            x = torch.cat((x, attentional))
        output, state = run(decoder, model.decoder.network, x.view(1, 1, -1), state)
        h = output[0, 0]
        if config.attention == "none":
            outputs.append(h)
            continue
        a = torch.stack([_score(model, config.attention, h, s) for s in hs[0]]).softmax(0)
        c = sum(weight * s for weight, s in zip(a, hs[0], strict=True))
        attentional = torch.tanh(model.decoder.join.weight @ torch.cat((c, h)))
        outputs.append(attentional)
    return torch.stack(outputs) @ model.projection.weight.T


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize(
    ("attention", "feeding", "bidirectional"),
    [
        ("none", False, True),
        ("none", False, False),
        ("dot", False, True),
        ("dot", True, False),
        ("general", True, True),
        ("additive", False, False),
        ("additive", True, True),
    ],
)
def test_same_weights_same_logits_and_gradients(attention, feeding, bidirectional, cell, training) -> None:
    torch.manual_seed(1)
    config = replace(CONFIG, cell=cell, attention=attention, input_feeding=feeding, bidirectional=bidirectional)
    model: Any = build_model(config, VOCAB, VOCAB).train(training)
    source_lengths, target_lengths = [7, 1, 5], [2, 5, 3]
    source_mask, target_mask = padding_mask(torch.tensor(source_lengths)), padding_mask(torch.tensor(target_lengths))
    source, target = torch.randint(4, VOCAB, (3, 7)), torch.randint(4, VOCAB, (3, 5))
    batch = (source, source_mask, target, target_mask)
    expected = torch.cat(
        [_by_hand(model, config, source[i, : source_lengths[i]], target[i, : target_lengths[i]]) for i in range(3)]
    )
    with torch.no_grad():
        torch.testing.assert_close(model.project(model(*batch))[target_mask], expected, atol=1e-5, rtol=0)

    readout = torch.randn_like(expected)
    weights = list(model.parameters())
    from_hand = torch.autograd.grad((expected * readout).mean(), weights)
    assert max(g.abs().max() for g in from_hand) > 1e-3
    as_in_training = model.real_states(*batch, real_places(target_mask))
    for hidden in (model(*batch)[target_mask], as_in_training):
        logits = model.project(hidden)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        from_ours = torch.autograd.grad((logits * readout).mean(), weights)
        for a, b in zip(from_ours, from_hand, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
