"""Perplexity, per token and per word, from log-probabilities that somebody else summed."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Likelihood:
    """What a model gives to the references of a test set, teacher-forced and unsmoothed."""

    log_probability: float
    """Natural-log probability of all references, summed over every target token, EOS included."""
    tokens: int
    """Target tokens, one EOS per sentence included."""
    words: int
    """Whitespace words of the references, no EOS (`count_words`)."""

    @property
    def perplexity(self) -> float:
        """exp(-log_probability / tokens). Depends on the vocabulary: compare within one only."""
        return perplexity(self.log_probability, self.tokens)

    @property
    def perplexity_per_word(self) -> float:
        """exp(-log_probability / words): the same probability shared among units that no vocabulary changes."""
        return perplexity(self.log_probability, self.words)


def perplexity(log_probability: float, count: int) -> float:
    """exp(-log_probability / count): natural log, count > 0.

    Infinity where that is beyond a float; not a number where count is 0.
    """
    if count == 0:
        return math.nan
    try:
        return math.exp(-log_probability / count)
    except OverflowError:
        return math.inf


def perplexity_per_word(log_probability: float, references: Iterable[str]) -> float:
    """`perplexity` with the references' words for count."""
    return perplexity(log_probability, count_words(references))


def count_words(texts: Iterable[str]) -> int:
    """Words of all texts: what whitespace separates."""
    return sum(len(text.split()) for text in texts)
