"""Sentences one behind the other in a row, without padding, as kernels for attention find them."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor


@dataclass(frozen=True)
class Sentences:
    """Where each of them is in the row."""

    starts: Tensor
    """[sentences + 1] int64: where each begins; at last the end."""
    positions: Tensor
    """[1, tokens] int64: which token of its sentence each is, from 0."""
    longest: int
    """Tokens of the longest, or more."""


class Ragged(NamedTuple):
    """A mask: queries see the keys of their own sentence."""

    queries: Sentences
    keys: Sentences


Seen = Tensor | Ragged | None
"""Where attention may look."""
