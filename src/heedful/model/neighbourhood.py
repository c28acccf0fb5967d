"""Where restricted self-attention looks (Section 4), and how its work is cut, in numbers. Imports no torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Neighbourhood:
    """A position sees so many before it, itself, and so many after it: r in all.

    Queries are taken in blocks of r, whose keys are the block and what its ends reach beyond it: 2r - 1 for each query.
    """

    before: int
    after: int

    @classmethod
    def centred(cls, r: int) -> "Neighbourhood":
        """Around the position, as the paper has it; of an even r, the one more lies before."""
        return cls(r // 2, (r - 1) // 2)

    @classmethod
    def causal(cls, r: int) -> "Neighbourhood":
        """The position and the r - 1 before it: what a decoder may see."""
        return cls(r - 1, 0)

    @property
    def size(self) -> int:
        """r, also the queries of a block."""
        return self.before + 1 + self.after

    @property
    def width(self) -> int:
        """Keys of a block of queries."""
        return self.size + self.before + self.after

    def in_blocks(self, length: int) -> bool:
        """Whether blocks are less work than all pairs of positions under a mask."""
        return self._blocked(length) < length * length

    def pairs(self, length: int) -> int:
        """Pairs of a query and a key that are computed: O(r · n)."""
        return self._blocked(length) if self.in_blocks(length) else length * length

    def operands(self, length: int) -> int:
        """Keys that stand in the products: a block's neighbours stand in the blocks beside it as well."""
        return -(-length // self.size) * self.width if self.in_blocks(length) else length

    def _blocked(self, length: int) -> int:
        return -(-length // self.size) * self.size * self.width
