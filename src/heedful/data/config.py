"""How text becomes batches. Imports no torch."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class DataConfig:
    """Tokens and batches (Section 5.1)."""

    tokenizer: Literal["bpe", "unigram"] = "bpe"
    """SentencePiece model, learned from the training text."""
    vocab_size: Annotated[int, Field(ge=261)] = 8000
    """Pieces in a vocabulary, capped with a notice where the corpus cannot fill it."""
    vocabulary: Literal["joint", "separate"] = "joint"
    """One vocabulary for both languages, or one each."""
    character_coverage: Annotated[float, Field(gt=0.9, le=1.0)] = 0.9999
    """Share of the text's characters that get pieces of their own; the rest falls back to bytes."""
    split_digits: bool = False
    """Every digit is a piece of its own."""
    subword_sampling: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """BPE-dropout probability (Provilkov et al. 2020), or the unigram smoothing α (Kudo 2018); 0 is off."""
    substitution: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    """Of trees: probability that an epoch exchanges a constituent for another of its label and about its size."""
    max_length: Annotated[int, Field(ge=2, le=1_000_000)] = 256
    """Training pairs with more tokens than this on either side, EOS included, are skipped and counted."""
    batch_tokens: Annotated[int, Field(ge=2)] = 4096
    """Most tokens in a batch on either side, padding included."""
    both_directions: Annotated[int, Field(ge=0)] = 0
    """So many batches at the start, to the nearest epoch, have every pair in both directions (Ding et al. 2021)."""
    short_first: bool = False
    """The first epoch goes from short pairs to long ones, the simplest curriculum."""

    @property
    def varies(self) -> bool:
        """Every epoch of training has other tokens."""
        return self.subword_sampling > 0 or self.substitution > 0
