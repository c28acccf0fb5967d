"""Same weights as torch.nn.Transformer, same numbers and same gradients."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from heedful.data.batches import real_places
from heedful.model.attention import MultiHeadAttention
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.masks import padding_mask

VOCAB, D, HEADS, D_FF, N, M = 37, 22, 2, 29, 3, 2
CONFIG = TransformerConfig(
    layers=N, decoder_layers=M, d_model=D, d_ff=D_FF, heads=HEADS, dropout=0.0, share_embeddings="none"
)


def _torch_transformer(norm_first: bool) -> nn.Transformer:
    """The paper's: torch adds a norm after both post-norm stacks, which Figure 1 does not have."""
    kind: Any = {"dropout": 0.0, "batch_first": True, "norm_first": norm_first}
    norm = nn.LayerNorm(D) if norm_first else None
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(D, HEADS, D_FF, **kind), N, copy.deepcopy(norm), enable_nested_tensor=False
    )
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(D, HEADS, D_FF, **kind), M, copy.deepcopy(norm))
    return nn.Transformer(D, HEADS, custom_encoder=encoder, custom_decoder=decoder, batch_first=True)


def _attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> list[tuple[Any, Any]]:
    return [
        (ours.weight, theirs.in_proj_weight),
        (ours.bias, theirs.in_proj_bias),
        (ours.output.weight, theirs.out_proj.weight),
        (ours.output.bias, theirs.out_proj.bias),
    ]


def _modules(*couples: tuple[nn.Module, nn.Module]) -> list[tuple[Any, Any]]:
    return [pair for a, b in couples for pair in zip(a.parameters(), b.parameters(), strict=True)]


def _matched_weights(ours: Any, theirs: nn.Transformer) -> list[tuple[nn.Parameter, nn.Parameter]]:
    pairs = []
    for a, b in zip(ours.encoder.layers, theirs.encoder.layers, strict=True):
        pairs += _attention(a.self_attention, b.self_attn)
        pairs += _modules(
            (a.feed_forward.inner, b.linear1),
            (a.feed_forward.outer, b.linear2),
            (a.self_attention_residual.norm, b.norm1),
            (a.feed_forward_residual.norm, b.norm2),
        )
    for a, b in zip(ours.decoder.layers, theirs.decoder.layers, strict=True):
        pairs += _attention(a.self_attention, b.self_attn) + _attention(a.cross_attention, b.multihead_attn)
        pairs += _modules(
            (a.feed_forward.inner, b.linear1),
            (a.feed_forward.outer, b.linear2),
            (a.self_attention_residual.norm, b.norm1),
            (a.cross_attention_residual.norm, b.norm2),
            (a.feed_forward_residual.norm, b.norm3),
        )
    if theirs.encoder.norm is not None:
        pairs += _modules(
            (ours.encoder.final_norm, theirs.encoder.norm), (ours.decoder.final_norm, theirs.decoder.norm)
        )
    return pairs


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("order", ["post", "pre"])
def test_same_weights_same_hidden_states_and_gradients(order: str, training: bool) -> None:
    torch.manual_seed(1)
    ours: Any = build_model(replace(CONFIG, norm_position=order), VOCAB, VOCAB).train(training)
    theirs = _torch_transformer(order == "pre").train(training)
    pairs = _matched_weights(ours, theirs)
    embeddings = sum(p.numel() for p in (*ours.source_input.parameters(), *ours.target_input.parameters()))
    matched = sum(a.numel() for a, _ in pairs)
    assert matched + embeddings + ours.projection.weight.numel() == sum(p.numel() for p in ours.parameters())
    assert matched == sum(p.numel() for p in theirs.parameters())
    with torch.no_grad():
        for a, b in pairs:
            torch.nn.init.normal_(a, std=0.3)
            b.copy_(a)

    source_mask, target_mask = padding_mask(torch.tensor([7, 3, 5])), padding_mask(torch.tensor([2, 11, 5]))
    source, target = torch.randint(4, VOCAB, (3, 7)), torch.randint(4, VOCAB, (3, 11))
    batch = (source, source_mask, target, target_mask)
    expected = theirs(
        ours.source_input(source),
        ours.target_input(target),
        tgt_mask=nn.Transformer.generate_square_subsequent_mask(11).isinf(),  # theirs is True where it may not look
        src_key_padding_mask=~source_mask,
        memory_key_padding_mask=~source_mask,
        tgt_is_causal=True,
    )[target_mask]
    with torch.no_grad():  # as for translating: other kernels
        torch.testing.assert_close(ours(*batch)[target_mask], expected, atol=1e-5, rtol=0)

    readout = torch.randn(D)
    tables = [ours.source_input.tokens.weight, ours.target_input.tokens.weight]
    from_theirs = torch.autograd.grad((expected @ readout).mean(), [*tables, *(b for _, b in pairs)])
    assert max(g.abs().max() for g in from_theirs) > 1e-2
    as_in_training = ours.real_states(*batch, real_places(target_mask))
    for hidden in (ours(*batch)[target_mask], as_in_training):
        torch.testing.assert_close(hidden, expected, atol=1e-5, rtol=0)
        from_ours = torch.autograd.grad((hidden @ readout).mean(), [*tables, *(a for a, _ in pairs)])
        for a, b in zip(from_ours, from_theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_same_attention_weights() -> None:
    torch.manual_seed(2)
    ours = MultiHeadAttention(D, HEADS, D // HEADS, D // HEADS)
    theirs = nn.MultiheadAttention(D, HEADS, batch_first=True)
    with torch.no_grad():
        for a, b in _attention(ours, theirs):
            b.copy_(torch.nn.init.normal_(a))
    x, memory, mask = torch.randn(3, 5, D), torch.randn(3, 7, D), padding_mask(torch.tensor([7, 3, 5]))
    output, weights = ours(x, memory, mask[:, None, None, :], need_weights=True)
    expected = theirs(x, memory, memory, key_padding_mask=~mask, average_attn_weights=False)
    torch.testing.assert_close(output, expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights, expected[1], atol=1e-6, rtol=1e-5)
