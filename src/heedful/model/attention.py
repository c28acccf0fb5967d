"""Attention: the lecture's layers over recurrent states, and Section 3.2's scaled dot-product and multi-head.

It knows no stack and no vocabulary. Masks are True where attention may look.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from heedful import kernels
from heedful.kernels.attention import packs, short_attention, split
from heedful.kernels.product import linear
from heedful.kernels.sentences import Ragged
from heedful.model.dropout import Dropout
from heedful.model.linear import Linear
from heedful.model.masks import causal_mask, masked_softmax
from heedful.model.positions import RotaryPositions, Start

Normalise = Callable[[Tensor, Tensor | None], Tensor]
"""From scores and a mask to weights."""
_BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)
"""cuDNN's plans anew for every shape, and its kernel takes ten times as long on sentences."""
_SHORT = 1 << 16
"""Scores of a head up to which torch's flash kernel, made for long sequences, is the slower one on CPU."""


def scaled_dot_product_attention(
    query: Float[Tensor, "*batch query d_k"],
    key: Float[Tensor, "*batch key d_k"],
    value: Float[Tensor, "*batch key d_v"],
    mask: Bool[Tensor, "#*batch #query #key"] | None = None,
    dropout: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Float[Tensor, "*batch query d_v"], Float[Tensor, "*batch query key"]]:
    """softmax(QK^T / sqrt(d_k))V (equation 1), and the softmax itself.

    A query that may look nowhere gets zeros. Dropout, where given, falls on the weights that meet V;
    the weights returned are those before it.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.size(-1))
    weights = masked_softmax(scores, mask)
    return (weights if dropout is None else dropout(weights)) @ value, weights


class KeysValues(NamedTuple):
    """One layer's projected keys and values: what a decoder keeps between steps."""

    keys: Float[Tensor, "batch heads key d_k"]
    values: Float[Tensor, "batch heads key d_v"]

    def append(self, new: "KeysValues") -> "KeysValues":
        """These positions, then the new ones."""
        return KeysValues(torch.cat((self.keys, new.keys), dim=2), torch.cat((self.values, new.values), dim=2))

    def last(self, count: int) -> "KeysValues":
        """At most so many positions, the latest."""
        first = max(0, self.keys.size(2) - count)
        return KeysValues(self.keys[:, :, first:], self.values[:, :, first:])

    def pick(self, index: Int[Tensor, " picked"]) -> "KeysValues":
        """Along the batch."""
        return KeysValues(self.keys.index_select(0, index), self.values.index_select(0, index))


class MultiHeadAttention(nn.Module):
    """Concat(head_1, ..., head_h)W^O with head_i = Attention(QW_i^Q, KW_i^K, VW_i^V) (Section 3.2.2).

    d_k and d_v are free. The h matrices of a kind are stored as one, and W^Q, W^K, W^V one above the other,
    so that self-attention projects with a single product. The paper states no biases; each projection has
    one here, as in torch.nn.MultiheadAttention and fairseq. `rotary` turns queries and keys.
    """

    rotary: RotaryPositions | None

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_k: int,
        d_v: int,
        dropout: float = 0.0,
        rotary: RotaryPositions | None = None,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.rotary = rotary
        self.sizes = [heads * d_k, heads * d_k, heads * d_v]
        self.weight = nn.Parameter(torch.empty(sum(self.sizes), d_model))
        self.bias = nn.Parameter(torch.zeros(sum(self.sizes)))
        self.output = Linear(heads * d_v, d_model)
        self.dropout = Dropout(dropout)
        for matrix in torch.split(self.weight, self.sizes):  # each is its own linear map: no joint fan-out
            nn.init.xavier_uniform_(matrix)

    def forward(
        self,
        x: Float[Tensor, "batch query d_model"],
        memory: Float[Tensor, "batch key d_model"] | None = None,
        mask: Bool[Tensor, "#batch #heads #query #key"] | Ragged | None = None,
        *,
        causal: bool = False,
        need_weights: bool = False,
        positions: Int[Tensor, "batch query"] | None = None,
    ) -> tuple[Float[Tensor, "batch query d_model"], Float[Tensor, "batch heads query key"] | None]:
        """Queries from x; keys and values from memory, or from x where there is none (self-attention).

        `causal` hides later positions in addition to the mask. The weights cost an explicit softmax and
        are None unless asked for. `positions` are those of `queries`. A mask of ragged sentences is for batches in one
        row, which `packs`.
        """
        if memory is None:
            query, past = self.project(x, mask.keys if isinstance(mask, Ragged) else 0)
        else:
            past = self.keys_values(memory, mask.keys if isinstance(mask, Ragged) else 0)
            query = self.queries(x, positions)
        return self.attend(query, past, mask, causal=causal, need_weights=need_weights)

    def project(
        self, x: Float[Tensor, "batch length d_model"], start: Start = 0
    ) -> tuple[Float[Tensor, "batch heads length d_k"], KeysValues]:
        """Self-attention's xW^Q, xW^K and xW^V in one product; `start` as in positions."""
        packed = linear(x, self.weight, self.bias)
        if self.rotary is None:
            query, key, value = map(self._split, _parts(packed, self.sizes))
            return query, KeysValues(key, value)
        # queries and keys at once, as if there were twice as many heads
        both, value = _parts(packed, [self.sizes[0] + self.sizes[1], self.sizes[2]])
        turned = self.rotary(both.view(*both.shape[:2], 2 * self.heads, -1).transpose(1, 2), start)
        query, key = map(self._split, _parts(turned.transpose(1, 2).flatten(2), self.sizes[:2]))
        return query, KeysValues(key, self._split(value))

    def queries(
        self, x: Float[Tensor, "batch query d_model"], positions: Int[Tensor, "batch query"] | None = None
    ) -> Float[Tensor, "batch heads query d_k"]:
        """xW^Q; with rotary positions as if each stood at this position of the memory, whose keys were made before."""
        weight, bias = self._part(0)
        query = self._split(linear(x, weight, bias))
        if self.rotary is None:
            return query
        assert positions is not None  # nobody else says where a query stands in the memory
        return self.rotary.turn(query, positions)

    def keys_values(self, memory: Float[Tensor, "batch key d_model"], start: Start = 0) -> KeysValues:
        """The memory's W^K and W^V; rotary keys are turned as in `project`."""
        weight, bias = self._part(1)
        key, value = _parts(linear(memory, weight, bias), self.sizes[1:])
        key = self._split(key)
        return KeysValues(key if self.rotary is None else self.rotary(key, start), self._split(value))

    def attend(
        self,
        query: Float[Tensor, "batch heads query d_k"],
        past: KeysValues,
        mask: Bool[Tensor, "#batch #heads #query #key"] | Ragged | None = None,
        *,
        causal: bool = False,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch query d_model"], Float[Tensor, "batch heads query key"] | None]:
        """Attention of every head, concatenated and multiplied by W^O."""
        weights: Tensor | None
        if isinstance(mask, Ragged):
            context, weights = _ragged_attention(query, past, mask, causal), None
        else:
            context, weights = self._context(query, past, mask, causal, need_weights)
        # [batch, heads, query, d_v] → [batch, query, heads * d_v]
        output: Tensor = self.output(context.transpose(1, 2).flatten(2))
        return output, weights

    def packs(self, queries: int, keys: int) -> bool:
        """Whether it attends in sentences up to such lengths that stand in one row."""
        d_k, d_v = self.sizes[1] // self.heads, self.sizes[2] // self.heads
        return not (self.training and self.dropout.p > 0.0) and packs(self.weight, queries, keys, d_k, d_v)

    def step(
        self, x: Float[Tensor, "rows 1 d_model"], past: KeysValues, position: int
    ) -> tuple[Float[Tensor, "rows 1 d_model"], KeysValues]:
        """Self-attention one position further, and the past with its keys and values."""
        query, new = self.project(x, position)
        past = past.append(new)
        return self.attend(query, past)[0], past

    def _context(
        self, query: Tensor, past: KeysValues, mask: Tensor | None, causal: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Equation 1 for every head, and its weights if asked for."""
        # torch's kernels draw their own dropout: with it, both ways take the formula and agree to the bit.
        if need_weights or (self.training and self.dropout.p > 0.0):
            if causal:
                later = causal_mask(query.size(2), query.device)
                mask = later if mask is None else mask & later
            context, weights = scaled_dot_product_attention(query, *past, mask, self.dropout)
            return context, weights if need_weights else None
        return _fast_attention(query, past, mask, causal), None

    def _part(self, index: int) -> tuple[Tensor, Tensor]:
        # W^Q, or W^K over W^V, which cross-attention applies to different inputs
        sizes = [self.sizes[0], self.sizes[1] + self.sizes[2]]
        return torch.split(self.weight, sizes)[index], torch.split(self.bias, sizes)[index]

    def _split(self, x: Tensor) -> Tensor:
        # [batch, length, heads * width] → [batch, heads, length, width]
        return x.view(x.size(0), x.size(1), self.heads, -1).transpose(1, 2)


def _parts(packed: Tensor, sizes: list[int]) -> tuple[Tensor, ...]:
    """`torch.split` of the components, which does not copy the gradients of what one kernel attends to."""
    if not torch.is_grad_enabled() or kernels.backend(packed) is None:
        return torch.split(packed, sizes, dim=-1)
    return split(packed, sizes)


def _fast_attention(query: Tensor, past: KeysValues, mask: Tensor | None, causal: bool) -> Tensor:
    """Equation 1 without its weights, by the kernel that is fastest here."""
    if (context := _in_one_kernel(query, past, mask, causal)) is not None:
        return context
    if query.is_cpu and torch.is_grad_enabled() and query.size(2) * past.keys.size(2) <= _SHORT:
        return _short_attention(query, past, mask, causal)
    if causal and mask is not None:
        mask, causal = mask & causal_mask(query.size(2), query.device), False
    with sdpa_kernel(list(_BACKENDS)) if query.is_cuda else nullcontext():
        return F.scaled_dot_product_attention(query, *past, attn_mask=mask, is_causal=causal)


def _ragged_attention(query: Tensor, past: KeysValues, mask: Ragged, causal: bool) -> Tensor:
    """Equation 1 within each sentence of a row."""
    context = short_attention(query, *past, mask, causal)
    assert context is not None  # who packs has asked
    return context


def _in_one_kernel(query: Tensor, past: KeysValues, mask: Tensor | None, causal: bool) -> Tensor | None:
    """Equation 1 over a short sequence under a mask that is the same for all heads; None where no kernel does it."""
    if mask is not None and mask.size(1) != 1:
        return None
    return short_attention(query, *past, None if mask is None else mask[:, 0], causal)


def _short_attention(query: Tensor, past: KeysValues, mask: Tensor | None, causal: bool) -> Tensor:
    """Equation 1 as three batched products and a softmax, for training on short sequences."""
    scores: Tensor = (query * query.size(-1) ** -0.5) @ past.keys.transpose(-2, -1)
    if causal:
        later = causal_mask(query.size(2), query.device)
        mask = later if mask is None else mask & later
    if mask is None:
        context: Tensor = scores.softmax(-1) @ past.values
        return context
    # Added, not filled in: one pass, and none in the backward pass. Half the lowest number can take a score more.
    hidden = scores.new_zeros(mask.shape).masked_fill_(~mask, torch.finfo(scores.dtype).min / 2)
    context = (scores + hidden).softmax(-1) @ past.values
    sees = mask.any(-1, keepdim=True)
    return context if sees.all() else context * sees


class Score(nn.Module):
    """How well the decoder's hidden state h and each of the encoder's hs go together.

    A subclass defines `forward(h, keys)`, and `keys(hs)` where a part of the work depends on hs alone:
    a decoder does that part once for all its steps.
    """

    def keys(self, hs: Float[Tensor, "batch source d_model"]) -> Float[Tensor, "batch source d_keys"]:
        """What `forward` wants of hs."""
        return hs

    def forward(
        self, h: Float[Tensor, "batch target d_model"], keys: Float[Tensor, "batch source d_keys"]
    ) -> Float[Tensor, "batch target source"]:
        """A number for every pair."""
        raise NotImplementedError


class DotProduct(Score):
    """h · hs, the lecture's score (Luong et al. 2015, `dot`)."""

    def forward(
        self, h: Float[Tensor, "batch target d_model"], keys: Float[Tensor, "batch source d_model"]
    ) -> Float[Tensor, "batch target source"]:
        """No weights: both sides live in one space."""
        return h @ keys.transpose(1, 2)


class General(Score):
    """h^T W hs (Luong et al. 2015, `general`)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.map = Linear(d_model, d_model, bias=False)

    def forward(
        self, h: Float[Tensor, "batch target d_model"], keys: Float[Tensor, "batch source d_model"]
    ) -> Float[Tensor, "batch target source"]:
        """W is applied to h, of which a step has one."""
        scores: Tensor = self.map(h) @ keys.transpose(1, 2)
        return scores


class Additive(Score):
    """v · tanh(W h + U hs) (Bahdanau et al. 2015, appendix A.1.2)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.query = Linear(d_model, d_model, bias=False)
        self.key = Linear(d_model, d_model, bias=False)
        self.sum = Linear(d_model, 1, bias=False)

    def keys(self, hs: Float[Tensor, "batch source d_model"]) -> Float[Tensor, "batch source d_model"]:
        """U hs."""
        keys: Tensor = self.key(hs)
        return keys

    def forward(
        self, h: Float[Tensor, "batch target d_model"], keys: Float[Tensor, "batch source d_model"]
    ) -> Float[Tensor, "batch target source"]:
        """Holds batch * target * source * d_model numbers."""
        # [batch, target, 1, d_model] + [batch, 1, source, d_model] → [batch, target, source]
        scores: Tensor = self.sum(torch.tanh(self.query(h).unsqueeze(2) + keys.unsqueeze(1))).squeeze(-1)
        return scores


class AttentionWeight(nn.Module):
    """The lecture's Weight layer: a score for each of hs, and softmax, gives the weights a.

    `normalise(scores, mask)` is `masked_softmax`, or what takes its place.
    """

    def __init__(self, score: Score, normalise: Normalise = masked_softmax) -> None:
        super().__init__()
        self.score = score
        self.normalise = normalise

    def forward(
        self,
        hs: Float[Tensor, "batch source d_model"],
        h: Float[Tensor, "batch *target d_model"],
        mask: Bool[Tensor, "batch source"] | None = None,
        keys: Float[Tensor, "batch source d_keys"] | None = None,
    ) -> Float[Tensor, "batch *target source"]:
        """a for one h `[batch, d_model]`, or for every target position at once.

        The mask is True on real source tokens; `keys` is `score.keys(hs)` where that is known already.
        """
        queries = h.unsqueeze(1) if h.dim() == 2 else h
        scores: Tensor = self.score(queries, self.score.keys(hs) if keys is None else keys)
        a = self.normalise(scores, None if mask is None else mask.unsqueeze(1))
        return a.squeeze(1) if h.dim() == 2 else a


class WeightSum(nn.Module):
    """The lecture's Weight Sum layer: the context vector c, the sum of hs weighted by a."""

    def forward(
        self, a: Float[Tensor, "batch *target source"], hs: Float[Tensor, "batch source d_model"]
    ) -> Float[Tensor, "batch *target d_model"]:
        """c for one a, or for every target position at once."""
        return (a.unsqueeze(1) @ hs).squeeze(1) if a.dim() == 2 else a @ hs


class Attention(nn.Module):
    """The lecture's Attention layer: AttentionWeight, then WeightSum."""

    def __init__(self, score: Score, normalise: Normalise = masked_softmax) -> None:
        super().__init__()
        self.attention_weight = AttentionWeight(score, normalise)
        self.weight_sum = WeightSum()

    def forward(
        self,
        hs: Float[Tensor, "batch source d_model"],
        h: Float[Tensor, "batch *target d_model"],
        mask: Bool[Tensor, "batch source"] | None = None,
        keys: Float[Tensor, "batch source d_keys"] | None = None,
    ) -> tuple[Float[Tensor, "batch *target d_model"], Float[Tensor, "batch *target source"]]:
        """The context vector c and the weights a."""
        a: Tensor = self.attention_weight(hs, h, mask, keys)
        return self.weight_sum(a, hs), a
