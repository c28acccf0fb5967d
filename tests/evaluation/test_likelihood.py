"""Perplexities against models whose answer is known."""

import math

import pytest

from heedful.evaluation.likelihood import Likelihood, count_words, perplexity, perplexity_per_word


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    references = ["ein Hund", "drei kleine Hunde"]
    tokens, words = 11, count_words(references)  # tokens: 9 pieces, 2 EOS
    likelihood = Likelihood(-tokens * math.log(37), tokens, words)
    assert words == 5
    assert likelihood.perplexity == pytest.approx(37)
    # the words share the probability of all pieces and of both EOS
    assert likelihood.perplexity_per_word == pytest.approx(37 ** (11 / 5))
    assert perplexity_per_word(-tokens * math.log(37), references) == likelihood.perplexity_per_word


def test_perplexity_per_word_does_not_depend_on_the_segmentation():
    by_words, by_characters = Likelihood(-70.0, 13, 11), Likelihood(-70.0, 61, 11)
    assert by_words.perplexity != by_characters.perplexity
    assert by_words.perplexity_per_word == by_characters.perplexity_per_word == math.exp(70 / 11)


def test_words_are_what_whitespace_separates():
    assert count_words(["", "  ", "a\u00a0b\tc\u3000d ", "e-f, g"]) == 6


def test_extremes():
    assert perplexity(-1e6, 1) == math.inf
    assert perplexity(-math.inf, 7) == math.inf
    assert perplexity(0.0, 7) == 1.0
    assert math.isnan(perplexity(-3.0, 0))
    assert math.isnan(perplexity(math.nan, 3))
