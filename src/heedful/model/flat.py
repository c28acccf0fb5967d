"""A Transformer as numbers and a list of tensors: what an engine that is not made of modules translates with."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from heedful.model.attention import MultiHeadAttention
from heedful.model.feed_forward import FeedForward
from heedful.model.norm import LayerNorm, NoNorm
from heedful.model.positions import RotaryPositions
from heedful.model.restricted import RestrictedAttention
from heedful.model.stacks import Decoder, Encoder, PreNorm, Residual

if TYPE_CHECKING:
    from heedful.model.transformer import Transformer


@dataclass(frozen=True)
class FlatTransformer:
    """The weights are the model's own: they change with it."""

    shape: tuple[int, ...]
    """Encoder and decoder layers; d_model, heads, d_k, d_v, d_ff; source and target vocabulary; 1 for pre-norm;
    r of restricted self-attention, or 0."""
    eps: float
    """Of every norm."""
    tensors: tuple[Tensor, ...]
    """Embeddings of source and target, projection; of each encoder layer W^Q over W^K over W^V and bias, W^O and
    bias, norm, the feed-forward network, norm; the final norm where norms come first. Of each decoder layer
    the self-attention and its norm as before; W^Q, W^K over W^V and W^O over the memory, norm; feed-forward
    network, norm; then the final norm."""
    source_positions: Callable[[int], Tensor]
    """What is added to the embeddings at so many positions."""
    target_positions: Callable[[int], Tensor]
    rotary: Callable[[int], Tensor] | None
    """Sines and cosines in turn by which queries and keys of self-attention are turned, `[positions, d_k]`."""


def flatten(model: "Transformer") -> FlatTransformer | None:
    """None for a variant that has more to it: deterministic attention, other norms than LayerNorm, no residual
    connections, not float32.
    """
    if model.deterministic_attention is not None:
        return None
    sides = (model.encoder, model.decoder)
    residuals = [module for side in sides for module in side.modules() if isinstance(module, Residual)]
    norms = [residual.norm for residual in residuals]
    kinds = {(type(residual), residual.skip) for residual in residuals}
    if len(kinds) != 1 or not all(isinstance(norm, LayerNorm) for norm in norms):
        return None
    [(kind, skip)] = kinds
    final: list[nn.Module] = [side.final_norm for side in sides]
    expected = LayerNorm if kind is PreNorm else NoNorm
    eps = {norm.eps for norm in (*norms, *final) if isinstance(norm, LayerNorm)}
    if any(weight.dtype != torch.float32 for weight in model.parameters()):
        return None
    for layer in (layer for side in sides for layer in side.layers):  # a variant of these computes something else
        parts = {name: type(part) for name, part in layer.named_children() if not isinstance(part, Residual)}
        own, rest = parts.pop("self_attention"), set(parts.values())
        if own not in (MultiHeadAttention, RestrictedAttention) or rest - {MultiHeadAttention, FeedForward}:
            return None
    neighbourhoods = {_neighbourhood(layer.self_attention) for side in sides for layer in side.layers}
    rotaries = {_rotary(layer.self_attention) for side in sides for layer in side.layers}
    if len(neighbourhoods) != 1 or len(rotaries) != 1:
        return None
    if not skip or len(eps) != 1 or not all(isinstance(norm, expected) for norm in final):
        return None
    rotary = rotaries.pop()
    source, target = model.source_input, model.target_input
    tables = (source.tokens.weight, target.tokens.weight, model.projection.weight)
    return FlatTransformer(
        (*_shape(model, kind is PreNorm), neighbourhoods.pop()),
        eps.pop(),
        (*tables, *_stack(model.encoder), *_stack(model.decoder)),
        lambda length: source.positions(torch.zeros(1, length, tables[0].size(1)))[0],
        lambda length: target.positions(torch.zeros(1, length, tables[0].size(1)))[0],
        rotary and rotary.first,
    )


def _neighbourhood(attention: object) -> int:
    return attention.r if isinstance(attention, RestrictedAttention) else 0


def _rotary(attention: object) -> RotaryPositions | None:
    return attention.rotary if isinstance(attention, MultiHeadAttention) else None


def _shape(model: "Transformer", pre_norm: bool) -> tuple[int, ...]:
    first = next(module for module in model.decoder.modules() if isinstance(module, MultiHeadAttention))
    inner = next(module.inner for module in model.decoder.modules() if isinstance(module, FeedForward))
    d_k, d_v = first.sizes[0] // first.heads, first.sizes[2] // first.heads
    vocabularies = (len(model.source_input.tokens.weight), len(model.projection.weight))
    layers = (len(model.encoder.layers), len(model.decoder.layers))
    return (*layers, model.projection.weight.size(1), first.heads, d_k, d_v, len(inner.weight), *vocabularies, pre_norm)


def _stack(stack: Encoder | Decoder) -> Iterator[Tensor]:
    for layer in stack.layers:
        for part, module in layer.named_children():
            if part == "cross_attention":
                assert isinstance(module, MultiHeadAttention)
                queries = module.sizes[0]
                yield from (module.weight[:queries], module.bias[:queries])
                yield from (module.weight[queries:], module.bias[queries:])
                yield from (module.output.weight, module.output.bias)
            else:
                yield from module.parameters()
    yield from stack.final_norm.parameters()
