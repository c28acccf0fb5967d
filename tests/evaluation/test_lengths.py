"""Scores by source length: every sentence in exactly one group, under its own length."""

import random

import pytest

from heedful.errors import HeedfulError
from heedful.evaluation.bleu import bleu, exact_match
from heedful.evaluation.lengths import length_unit, score_by_length


def words(count):
    return " ".join(["w"] * count)


def test_groups_hold_the_lengths_that_they_name():
    lengths = [0, 1, 5, 6, 10, 11, 15, 16, 20, 21, 30, 31, 997]
    random.Random(3).shuffle(lengths)
    sources = [words(length) for length in lengths]
    marks = [str(length) for length in lengths]
    seen = []

    def metric(hypotheses, references):
        assert hypotheses == references
        seen.append(sorted(map(int, hypotheses)))
        return float(len(hypotheses))

    groups = score_by_length(sources, marks, marks, metric)
    assert seen == [[0], [1, 5], [6, 10], [11, 15], [16, 20], [21, 30], [31, 997]]
    assert [group.label for group in groups] == ["0", "1-5", "6-10", "11-15", "16-20", "21-30", "31+"]
    assert [group.sentences for group in groups] == [group.score for group in groups] == [1, 2, 2, 2, 2, 2, 2]


def test_groups_without_sentences_are_left_out():
    groups = score_by_length([words(7), words(41)], ["a", "b"], ["a", "x"], exact_match)
    assert [(group.shortest, group.longest, group.score) for group in groups] == [(6, 10, 100.0), (31, None, 0.0)]


def test_each_group_has_the_score_of_its_sentences_alone():
    sources = [words(3), words(13), words(4)]
    hypotheses = ["a b c d e", "f g h i j", "k l m n x"]
    references = ["a b c d x", "f g h i j", "k l m n o"]
    short, long = score_by_length(sources, hypotheses, references, lambda h, r: bleu(h, r).value)
    assert short.score == bleu(hypotheses[::2], references[::2]).value
    assert long.score == pytest.approx(100)


def test_own_ends_and_characters():
    sources = ["日本語", "日本 語です", " 日本語です。 "]
    groups = score_by_length(sources, sources, sources, exact_match, "characters", upper_ends=(3, 5))
    assert [(group.label, group.sentences, group.unit) for group in groups] == [
        ("0-3", 1, "characters"),
        ("6+", 2, "characters"),
    ]


def test_unit_follows_the_script():
    assert [length_unit(language) for language in ("ja", "zh-TW", "th", "ko", "de", None, "source")] == (
        ["characters"] * 3 + ["words"] * 4
    )


def test_what_is_not_parallel_is_an_error():
    with pytest.raises(HeedfulError, match="1 sources but 2 references"):
        score_by_length(["a"], ["a", "b"], ["a", "b"], exact_match)
    with pytest.raises(HeedfulError, match="1 hypotheses but 2 references"):
        score_by_length(["a", "b"], ["a"], ["a", "b"], exact_match)
