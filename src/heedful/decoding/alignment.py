"""Word alignments, read off the attention of the decoder over the source."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Pairs = list[tuple[int, int]]
"""(source word, target word), 0-based."""


def align(cross: Sequence[NDArray[np.float32]], source_words: Sequence[int], target_words: Sequence[int]) -> Pairs:
    """Each target word with the source word that has the most weight, in the order of the target.

    `cross` holds `[head, target, source]` for each decoder layer. Of several layers the last but one counts, in
    the mean of its heads, which agrees best with alignments made by people (Garg et al. 2019, Section 4.1);
    a recurrent decoder has but one. The words say for every token whose word it is, −1 for EOS and spaces, which
    stand aside. The weight between two words is the mean over the tokens of the target's, the sum over those
    of the source's.
    """
    weights = cross[-2 if len(cross) > 1 else -1].mean(axis=0, dtype=np.float64)
    by_word = _membership(target_words) @ weights @ _membership(source_words).T
    if not by_word.size:
        return []
    return [(int(source), target) for target, source in enumerate(by_word.argmax(axis=1))]


def _membership(words: Sequence[int]) -> NDArray[np.float64]:
    """[word, token]: 1 where the token is the word's."""
    count = max(words, default=-1) + 1
    member: NDArray[np.float64] = (np.arange(count)[:, None] == np.asarray(words)[None, :]).astype(np.float64)
    return member
