"""Word alignments: which layer, which mean, and what stands aside."""

import numpy as np

from heedful.decoding.alignment import align


def test_words_of_one_token_go_to_the_largest_weight() -> None:
    weights = np.array([[[0.2, 0.7, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.8]]], dtype=np.float32)
    assert align([weights], [0, 1, 2], [0, 1, 2]) == [(1, 0), (0, 1), (2, 2)]


def test_eos_stands_aside_on_both_sides() -> None:
    weights = np.array([[[0.2, 0.1, 0.7], [0.1, 0.3, 0.6], [0.0, 0.0, 1.0]]], dtype=np.float32)
    assert align([weights], [0, 1, -1], [0, 1, -1]) == [(0, 0), (1, 1)]


def test_heads_are_averaged() -> None:
    heads = np.array([[[0.6, 0.4]], [[0.0, 1.0]], [[0.55, 0.45]]], dtype=np.float32)
    assert align([heads], [0, 1], [0]) == [(1, 0)]


def test_the_last_layer_but_one_counts() -> None:
    first, second, third = (np.array([[row]], dtype=np.float32) for row in ([1, 0, 0], [0, 1, 0], [0, 0, 1]))
    assert align([first, second, third], [0, 1, 2], [0]) == [(1, 0)]
    assert align([first, second], [0, 1, 2], [0]) == [(0, 0)]
    assert align([third], [0, 1, 2], [0]) == [(2, 0)]


def test_source_tokens_of_a_word_add_up_and_target_tokens_are_averaged() -> None:
    # Source words: a (token 0), b (tokens 1, 2). The first target word has tokens 0 and 1.
    weights = np.array([[[0.5, 0.3, 0.2], [0.4, 0.3, 0.3], [0.9, 0.1, 0.0]]], dtype=np.float32)
    assert align([weights], [0, 1, 1], [0, 0, 1]) == [(1, 0), (0, 1)]


def test_no_words_no_pairs() -> None:
    weights = np.ones((1, 1, 1), dtype=np.float32)
    assert align([weights], [-1], [-1]) == []
    assert align([weights], [0], [-1]) == []
    assert align([weights], [-1], [0]) == []
