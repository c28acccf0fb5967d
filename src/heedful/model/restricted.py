"""Self-attention restricted to a neighbourhood of r positions (Section 4), in O(r · n · d) operations."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from heedful.model.attention import KeysValues, MultiHeadAttention
from heedful.model.masks import local_mask
from heedful.model.neighbourhood import Neighbourhood
from heedful.model.positions import RotaryPositions


class RestrictedAttention(MultiHeadAttention):
    """Multi-head self-attention whose queries see r positions only: those around them, or under `causal` the last r.

    The result is that of full attention under `local_mask`; what the mask would hide is not computed. Masks given
    to it are of keys.
    """

    def __init__(
        self,
        d_model: int,
        heads: int,
        d_k: int,
        d_v: int,
        r: int,
        dropout: float = 0.0,
        rotary: RotaryPositions | None = None,
    ) -> None:
        super().__init__(d_model, heads, d_k, d_v, dropout, rotary)
        self.r = r

    def packs(self, queries: int, keys: int) -> bool:
        """Never: no kernel of one row's sentences knows a neighbourhood."""
        return False

    def step(
        self, x: Float[Tensor, "rows 1 d_model"], past: KeysValues, position: int
    ) -> tuple[Float[Tensor, "rows 1 d_model"], KeysValues]:
        """One position further; of the past, the last r - 1 positions are used and kept."""
        return super().step(x, past.last(self.r - 1), position)

    def _context(
        self,
        query: Float[Tensor, "batch heads query d_k"],
        past: KeysValues,
        mask: Bool[Tensor, "#batch #heads 1 key"] | None,
        causal: bool,
        need_weights: bool,
    ) -> tuple[Float[Tensor, "batch heads query d_v"], Float[Tensor, "batch heads query key"] | None]:
        around = Neighbourhood.causal(self.r) if causal else Neighbourhood.centred(self.r)
        length = query.size(2)
        everything = length <= 1 + (around.before if causal else around.after)
        if everything or past.keys.size(2) != length:  # a step's one query sees all that was kept
            return super()._context(query, past, mask, causal, need_weights)
        if around.in_blocks(length):
            return self._in_blocks(query, past, mask, around, need_weights)
        local = local_mask(length, around.before, around.after, query.device)[None, None]
        return super()._context(query, past, local if mask is None else mask & local, False, need_weights)

    def _in_blocks(
        self, query: Tensor, past: KeysValues, mask: Tensor | None, around: Neighbourhood, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        batch, length = query.size(0), query.size(2)
        real = query.new_ones(1, 1, 1, length, dtype=torch.bool) if mask is None else mask
        keys, values, seen = (_windows(x, around) for x in (*past, real.mT.expand(batch, -1, -1, -1)))
        # key column c of a block stands `before` positions to the left of its query row c
        band = real.new_ones(around.size, around.width).triu().tril(around.before + around.after)
        context, weights = super()._context(
            _blocks(query, around.size).flatten(0, 1), KeysValues(keys, values), seen.mT & band, False, need_weights
        )
        return (
            # [batch * blocks, heads, r, d_v] → [batch, heads, length, d_v]
            context.view(batch, -1, *context.shape[1:]).transpose(1, 2).flatten(2, 3)[:, :, :length],
            None if weights is None else _spread(weights.view(batch, -1, *weights.shape[1:]), around, length),
        )


def _blocks(
    x: Float[Tensor, "batch heads length d"] | Bool[Tensor, "batch heads length d"], size: int, before: int = 0
) -> Float[Tensor, "batch blocks heads {size} d"] | Bool[Tensor, "batch blocks heads {size} d"]:
    """Cut into blocks, after so many zeros before it; zeros fill the last one."""
    padded = F.pad(x, (0, 0, before, -(before + x.size(2)) % size))
    # [batch, heads, blocks * size, d] → [batch, blocks, heads, size, d]
    return padded.view(x.size(0), x.size(1), -1, size, x.size(3)).transpose(1, 2)


def _windows(
    x: Float[Tensor, "batch heads length d"] | Bool[Tensor, "batch heads length d"], around: Neighbourhood
) -> Float[Tensor, "pieces heads width d"] | Bool[Tensor, "pieces heads width d"]:
    """What each block of queries may look at: the blocks of keys begin `before` positions earlier, and one and most
    of the next make a window. pieces = batch * blocks. (`Tensor.unfold` does the same; its gradient is slow.)"""
    count = -(-x.size(2) // around.size)
    # a whole block of zeros behind, so that the last window has its second part
    blocks = _blocks(F.pad(x, (0, 0, 0, around.size)), around.size, around.before)
    first, second = blocks[:, :count], blocks[:, 1 : count + 1, :, : around.width - around.size]
    return torch.cat((first, second), dim=3).flatten(0, 1)


def _spread(
    weights: Float[Tensor, "batch blocks heads size width"], around: Neighbourhood, length: int
) -> Float[Tensor, "batch heads length length"]:
    """Every block's weights at the columns of its keys, zeros elsewhere: n² numbers, for whoever wants to see them."""
    by_head = weights.transpose(1, 2)
    blocks, columns = by_head.size(2), torch.arange(around.width, device=weights.device)
    first = around.size * torch.arange(blocks, device=weights.device)
    index = (first[:, None, None] + columns).expand_as(by_head)
    wide = weights.new_zeros(*by_head.shape[:-1], blocks * around.size + around.width - around.size)
    # [batch, heads, blocks, r, before + blocks * r + after] → [batch, heads, length, length]
    rows = wide.scatter(-1, index, by_head).flatten(2, 3)[:, :, :length]
    return rows[..., around.before : around.before + length]
