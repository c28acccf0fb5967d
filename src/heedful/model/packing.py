"""Padded sequences side by side in one row, without padding: what is computed there is computed for real tokens alone.

Whatever looks at one position needs no word of it, but positional encodings and attention have to be told.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

from heedful.kernels.sentences import Sentences


@dataclass(frozen=True)
class Packing:
    """Of one batch."""

    sentences: Sentences
    places: Int[Tensor, " tokens"]
    """In batch × length."""

    @classmethod
    def of(cls, mask: Bool[Tensor, "batch length"]) -> "Packing":
        """The mask is True on real tokens."""
        lengths, places = mask.sum(1), mask.flatten().nonzero().squeeze(1)
        starts = torch.cat((lengths.new_zeros(1), lengths.cumsum(0)))
        positions = (places % mask.size(1)).unsqueeze(0)
        return cls(Sentences(starts, positions, int(lengths.max())), places)

    def pack(self, x: Shaped[Tensor, "batch length *rest"]) -> Shaped[Tensor, "1 tokens *rest"]:
        """The real tokens of all sequences in one row."""
        return x.flatten(0, 1).index_select(0, self.places).unsqueeze(0)

    def unpack(
        self, x: Shaped[Tensor, "1 tokens d"], mask: Bool[Tensor, "batch length"]
    ) -> Shaped[Tensor, "batch length d"]:
        """Back where they came from, zeros on padding."""
        rows = x.new_zeros(mask.numel(), x.size(-1)).index_copy(0, self.places, x.squeeze(0))
        return rows.view(*mask.shape, -1)
