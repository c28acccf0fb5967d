"""Same weights as Hugging Face's MarianMTModel, same logits, loss and gradients.

Its sinusoids stand in two halves, all sines, then all cosines; ours take turns. So wherever a weight meets the
stream of width d_model, Marian's copy has its components in Marian's order: nothing of Marian's own is touched.
"""

import os
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

os.environ["HF_HUB_OFFLINE"] = "1"
transformers = pytest.importorskip("transformers")

from heedful.data.batches import real_places  # noqa: E402
from heedful.model.attention import MultiHeadAttention  # noqa: E402
from heedful.model.build import build_model  # noqa: E402
from heedful.model.config import TransformerConfig  # noqa: E402
from heedful.model.masks import padding_mask  # noqa: E402
from heedful.model.positions import sinusoids  # noqa: E402

VOCAB, D, HEADS, D_FF, N, M = 37, 22, 2, 29, 3, 2
ORDER = torch.cat((torch.arange(0, D, 2), torch.arange(1, D, 2)))
"""Marian's component i is our component ORDER[i]."""
CONFIG = TransformerConfig(layers=N, decoder_layers=M, d_model=D, d_ff=D_FF, heads=HEADS, dropout=0.0)


def _marian(attention: str) -> Any:
    config = transformers.MarianConfig(
        vocab_size=VOCAB,
        d_model=D,
        encoder_layers=N,
        decoder_layers=M,
        encoder_attention_heads=HEADS,
        decoder_attention_heads=HEADS,
        encoder_ffn_dim=D_FF,
        decoder_ffn_dim=D_FF,
        activation_function="relu",
        dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        scale_embedding=True,
        share_encoder_decoder_embeddings=True,
        tie_word_embeddings=True,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=3,
        decoder_start_token_id=2,
        attn_implementation=attention,
    )
    model = transformers.MarianMTModel(config)
    assert not model.final_logits_bias.any()
    return model


def _columns(weight: Tensor) -> Tensor:
    """A weight that reads the stream."""
    return weight[:, ORDER]


def _rows(weight: Tensor) -> Tensor:
    """A weight or bias that writes to the stream, or stands beside it."""
    return weight[ORDER]


def _same(weight: Tensor) -> Tensor:
    return weight


def _attention(ours: MultiHeadAttention, theirs: Any) -> list[tuple[Any, Any]]:
    pairs: list[tuple[Any, Any]] = []
    for i, projection in enumerate((theirs.q_proj, theirs.k_proj, theirs.v_proj)):
        part = slice(i * D, (i + 1) * D)
        pairs += [
            (projection.weight, lambda part=part: _columns(ours.weight[part])),
            (projection.bias, lambda part=part: ours.bias[part]),
        ]
    return [*pairs, *_linear(ours.output, theirs.out_proj, _same, _rows)]


def _linear(ours: nn.Linear, theirs: nn.Linear, reads: Any, writes: Any) -> list[tuple[Any, Any]]:
    return [(theirs.weight, lambda: writes(reads(ours.weight))), (theirs.bias, lambda: writes(ours.bias))]


def _norm(ours: Any, theirs: nn.LayerNorm) -> list[tuple[Any, Any]]:
    return [(theirs.weight, lambda: _rows(ours.weight)), (theirs.bias, lambda: _rows(ours.bias))]


def _matched(ours: Any, theirs: Any) -> list[tuple[nn.Parameter, Any]]:
    """Each of Marian's parameters, and how it is made of ours."""
    pairs: list[tuple[Any, Any]] = [(theirs.model.shared.weight, lambda: _columns(ours.projection.weight))]
    for a, b in zip(ours.encoder.layers, theirs.model.encoder.layers, strict=True):
        pairs += _attention(a.self_attention, b.self_attn)
        pairs += _norm(a.self_attention_residual.norm, b.self_attn_layer_norm)
    for a, b in zip(ours.decoder.layers, theirs.model.decoder.layers, strict=True):
        pairs += _attention(a.self_attention, b.self_attn)
        pairs += _norm(a.self_attention_residual.norm, b.self_attn_layer_norm)
        pairs += _attention(a.cross_attention, b.encoder_attn)
        pairs += _norm(a.cross_attention_residual.norm, b.encoder_attn_layer_norm)
    for ours_stack, theirs_stack in ((ours.encoder, theirs.model.encoder), (ours.decoder, theirs.model.decoder)):
        for a, b in zip(ours_stack.layers, theirs_stack.layers, strict=True):
            pairs += _linear(a.feed_forward.inner, b.fc1, _columns, _same)
            pairs += _linear(a.feed_forward.outer, b.fc2, _same, _rows)
            pairs += _norm(a.feed_forward_residual.norm, b.final_layer_norm)
    return pairs


def test_its_sinusoids_are_ours_in_another_order() -> None:
    table = _marian("eager").model.encoder.embed_positions.weight
    torch.testing.assert_close(table[:50], sinusoids(50, D)[:, ORDER], atol=1e-6, rtol=0)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_same_weights_same_logits_loss_and_gradients(attention: str, training: bool) -> None:
    torch.manual_seed(1)
    ours: Any = build_model(CONFIG, VOCAB, VOCAB).train(training)
    theirs = _marian(attention).train(training)
    pairs = _matched(ours, theirs)
    assert {id(p) for p, _ in pairs} == {id(p) for p in theirs.parameters() if p.requires_grad}
    assert sum(p.numel() for p, _ in pairs) == sum(p.numel() for p in ours.parameters())
    with torch.no_grad():
        for parameter in ours.parameters():
            nn.init.normal_(parameter, std=0.3)
        for parameter, made in pairs:
            parameter.copy_(made())

    source_mask, target_mask = padding_mask(torch.tensor([7, 3, 5])), padding_mask(torch.tensor([2, 11, 5]))
    source = torch.randint(4, VOCAB, (3, 7)).where(source_mask, 0)
    target, output = (torch.randint(4, VOCAB, (3, 11)).where(target_mask, 0) for _ in range(2))
    batch = (source, source_mask, target, target_mask)
    expected = theirs(
        input_ids=source,
        attention_mask=source_mask.long(),
        decoder_input_ids=target,
        decoder_attention_mask=target_mask.long(),
        labels=output.where(target_mask, -100),
    )
    logits = expected.logits[target_mask]
    with torch.no_grad():  # as for translating: other kernels
        torch.testing.assert_close(ours.project(ours(*batch))[target_mask], logits, atol=1e-5, rtol=1e-5)

    from_theirs = torch.autograd.grad(expected.loss, [parameter for parameter, _ in pairs])
    assert max(gradient.abs().max() for gradient in from_theirs) > 1e-2
    from_ours = []
    as_in_training = ours.real_states(*batch, real_places(target_mask))
    for hidden in (ours(*batch)[target_mask], as_in_training):
        torch.testing.assert_close(ours.project(hidden), logits, atol=1e-5, rtol=1e-5)
        loss = F.cross_entropy(ours.project(hidden), output[target_mask])
        torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=0)
        from_ours.append(torch.autograd.grad(loss, list(ours.parameters())))
    for gradients in from_ours:
        with torch.no_grad():  # the same map that took our weights to theirs takes our gradients to theirs
            for parameter, gradient in zip(ours.parameters(), gradients, strict=True):
                parameter.copy_(gradient)
        for (_, made), gradient in zip(pairs, from_theirs, strict=True):
            torch.testing.assert_close(made(), gradient, atol=1e-5, rtol=1e-5)
