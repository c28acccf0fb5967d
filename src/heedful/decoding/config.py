"""How a translation is searched for. Imports no torch."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class SearchConfig:
    """Beam search as in Section 6.1."""

    beam_size: Annotated[int, Field(ge=1, le=1000)] = 4
    """Hypotheses kept at each step; 1 is greedy search."""
    length_penalty: Annotated[float, Field(ge=0.0, le=10.0)] = 0.6
    """α; a hypothesis of n tokens, EOS included, is ranked by log-probability / penalty(n)."""
    length_penalty_kind: Literal["paper", "length", "none"] = "paper"
    """penalty(n): paper ((5 + n) / 6)^α (Wu et al. 2016), length n^α, none 1."""
    max_extra_tokens: Annotated[int, Field(ge=1)] = 50
    """A translation has at most this many tokens more than its source (Section 6.1)."""
