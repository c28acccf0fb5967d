"""Positional encoding as an object, called as `positions(x, start)`: x, and in it where its tokens stand.

`start` is the position of the first, or says where in a row of sentences each of them stands.

Of embeddings (Section 3.5) it is a summand; rotary positions are of the queries and keys of attention.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from heedful.kernels.rotary import turned
from heedful.kernels.sentences import Sentences

Start = int | Sentences


def sinusoids(length: int, d_model: int, start: int = 0) -> Float[Tensor, "length d_model"]:
    """PE(pos, 2i) = sin(pos / 10000^(2i/d_model)), PE(pos, 2i+1) = cos of the same: interleaved, as in the paper.

    Computed in float64, since a float32 angle of 10,000 is off by a thousandth.
    """
    position = torch.arange(start, start + length, dtype=torch.float64)
    exponent = torch.arange(0, d_model, 2, dtype=torch.float64) / d_model
    angle = position.unsqueeze(1) / 10_000.0**exponent
    # [length, d_model / 2, (sin, cos)] → [length, d_model]; an odd d_model ends with a sine
    pairs = torch.stack((angle.sin(), angle.cos()), dim=-1)
    return pairs.flatten(1)[:, :d_model].float()


class SinusoidTable(nn.Module):
    """Fixed sinusoids of any length; the table grows to the longest sequence seen and is not saved."""

    table: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoids(256, width), persistent=False)

    def first(self, length: int) -> Float[Tensor, "{length} width"]:
        """The first so many positions."""
        if length > len(self.table):
            self.table = sinusoids(2 * length, self.table.size(1)).to(self.table)
        return self.table[:length]

    def at(self, start: Start, length: int) -> Float[Tensor, "*batch {length} width"]:
        """The positions of so many tokens."""
        if isinstance(start, int):
            return self.first(start + length)[start:]
        return self.first(start.longest)[start.positions]


class SinusoidalPositions(SinusoidTable):
    """Added to the embeddings, as in the paper."""

    def forward(
        self, x: Float[Tensor, "batch positions d_model"], start: Start = 0
    ) -> Float[Tensor, "batch positions d_model"]:
        """x + PE[start:]."""
        return x + self.at(start, x.size(1))


class LearnedPositions(nn.Embedding):
    """A learned vector for each of the first `max_positions` positions; all later ones share the last."""

    def reset_parameters(self) -> None:
        """N(0, 1 / d_model), as the token embeddings before they are multiplied by √d_model."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)

    def forward(
        self, input: Float[Tensor, "batch positions d_model"], start: Start = 0
    ) -> Float[Tensor, "batch positions d_model"]:
        """x + P[min(position, max_positions - 1)]."""
        if isinstance(start, int):
            position = torch.arange(start, start + input.size(1), device=input.device)
        else:
            position = start.positions
        return input + super().forward(position.clamp(max=self.num_embeddings - 1))


class RotaryPositions(SinusoidTable):
    """Queries and keys turned by angles in proportion to their positions (Su et al. 2021, equation 15).

    Their product then depends on how far apart they are, not on where. The angles are those of sinusoids as wide as a
    head; component i is turned together with i + d_k / 2.
    """

    def forward(
        self, x: Float[Tensor, "batch heads positions d_k"], start: Start = 0
    ) -> Float[Tensor, "batch heads positions d_k"]:
        """x turned, as from position `start` on."""
        if isinstance(start, int):
            return _turned(x, self.at(start, x.size(2)))
        return _turned(x, self.first(start.longest), start.positions)

    def turn(
        self, x: Float[Tensor, "batch heads positions d_k"], positions: Int[Tensor, "batch positions"]
    ) -> Float[Tensor, "batch heads positions d_k"]:
        """x as if it stood at these positions, of a sequence whose keys were turned before: the table reaches it."""
        return _turned(x, self.table, positions)


def _turned(x: Tensor, angles: Tensor, positions: Tensor | None = None) -> Tensor:
    if (result := turned(x, angles, positions)) is not None:
        return result
    angles = (angles if positions is None else angles[positions].unsqueeze(1)).to(x.dtype)
    sine, cosine = angles[..., ::2], angles[..., 1::2]
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cosine - right * sine, left * sine + right * cosine), dim=-1)


class NoPositions(nn.Module):
    """x is left as it is: a bag of tokens (and the causal mask), unless something else knows their order."""

    def forward(
        self, x: Float[Tensor, "batch positions d_model"], start: Start = 0
    ) -> Float[Tensor, "batch positions d_model"]:
        """x."""
        return x
