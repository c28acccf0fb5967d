"""How trees become what a parser learns. Imports no torch."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TreeConfig:
    """What stays of a treebank's trees, and how they are written as a target (Section 6.3)."""

    linearisation: Literal["top-down", "in-order"] = "top-down"
    """A bracket opens before its first child (Vinyals et al. 2015), or after it (Liu and Zhang 2017)."""
    leaves: Literal["placeholder", "tags"] = "placeholder"
    """What stands for a word: XX, whatever the word, or its part of speech, which the parser then predicts."""
    traces: bool = False
    """Leaves tagged -NONE- stay, which no text has; otherwise brackets that are empty without them vanish too."""
    function_tags: bool = False
    """Labels keep what stands behind their category: NP-SBJ, NP=2, PRT|ADVP."""
    unary_chains: bool = False
    """A bracket over nothing but one of the same label stays; otherwise the two become one."""
    empty_nodes: Literal["error", "drop"] = "error"
    """What a bracket is that holds nothing in the file."""
