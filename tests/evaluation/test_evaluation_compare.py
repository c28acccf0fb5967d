"""`compare`: orientation, counts, the sentences that differ most, and what is printed."""

import json
from dataclasses import asdict

import pytest

from heedful.errors import HeedfulError
from heedful.evaluation.bleu import bleu, bleu_lowercased_tokenized, chrf
from heedful.evaluation.compare import compare, render
from heedful.evaluation.lengths import score_by_length

SOURCES = ["a dog runs home", "two men are here", "a very long sentence about one old house", "hello", "the end"]
REFERENCES = [
    "ein Hund rennt heim",
    "zwei Männer sind hier",
    "ein sehr langer Satz über ein altes Haus",
    "hallo",
    "Ende",
]
A = ["ein Hund geht heim", "zwei Männer sind da", "ein sehr langer Satz über ein altes Haus", "hallo", "xyzzy"]
B = ["ein Hund rennt heim", "xyz", "ein sehr langer Satz über das Haus", "hallo", "Endes"]


def run(a=A, b=B, **options):
    return compare(SOURCES, REFERENCES, a, b, target_language="de", samples=53, **options)


def test_scores_are_those_of_evaluate_and_differences_are_b_minus_a():
    metrics = run().metrics
    expected = {
        "bleu": [bleu(x, REFERENCES, "de") for x in (A, B)],
        "chrf": [chrf(x, REFERENCES) for x in (A, B)],
        "bleu_lowercased_tokenized": [bleu_lowercased_tokenized(x, REFERENCES, "de") for x in (A, B)],
    }
    assert list(metrics) == list(expected)
    for name, (a, b) in expected.items():
        assert (metrics[name].a, metrics[name].b) == (a.value, b.value)
        assert metrics[name].difference == b.value - a.value
        assert metrics[name].signature == a.signature


def test_sentences_are_counted_and_ranked_by_what_they_gain():
    comparison = run()
    assert (comparison.b_better, comparison.a_better, comparison.equal, comparison.identical) == (2, 2, 1, 1)
    assert [pair.line for pair in comparison.b_wins] == [5, 1]
    assert [pair.line for pair in comparison.a_wins] == [2, 3]
    second = comparison.b_wins[1]
    assert (second.source, second.reference, second.hypothesis_a, second.hypothesis_b) == (
        SOURCES[0],
        REFERENCES[0],
        A[0],
        B[0],
    )
    assert (second.chrf_a, second.chrf_b) == (chrf(A[:1], REFERENCES[:1]).value, 100.0)
    assert [pair.line for pair in run(sentences_shown=1).a_wins] == [2]


def test_exchanging_the_systems_mirrors_the_result():
    forth, back = run(), run(B, A)
    assert (forth.b_better, forth.a_better) == (back.a_better, back.b_better)
    assert [pair.line for pair in forth.b_wins] == [pair.line for pair in back.a_wins]
    for name, metric in forth.metrics.items():
        assert metric.difference == -back.metrics[name].difference
        assert metric.bootstrap_p == back.metrics[name].bootstrap_p
    assert [row.difference for row in forth.bleu_by_length] == [-row.difference for row in back.bleu_by_length]


def test_length_rows_are_bleu_of_each_system():
    rows = run().bleu_by_length
    expected = [score_by_length(SOURCES, x, REFERENCES, lambda h, r: bleu(h, r, "de").value) for x in (A, B)]
    assert [(row.label, row.sentences) for row in rows] == [("1-5", 4), ("6-10", 1)]
    assert [(row.a, row.b) for row in rows] == [(a.score, b.score) for a, b in zip(*expected, strict=True)]


def test_identical_systems():
    comparison = run(A, list(A))
    assert (comparison.equal, comparison.identical, comparison.b_wins, comparison.a_wins) == (5, 5, [], [])
    assert {(m.bootstrap_p, m.randomization_p) for m in comparison.metrics.values()} == {(1.0, 1.0)}
    assert "B gains most" not in render(comparison)


def test_record_is_json():
    record = json.loads(json.dumps(asdict(run(systems=("runs/a", "runs/b"))), allow_nan=False))
    assert record["system_b"] == "runs/b"
    assert record["metrics"]["bleu"]["bootstrap_p"] == run().metrics["bleu"].bootstrap_p
    assert record["a_wins"][0]["line"] == 2
    assert record["bleu_by_length"][0]["longest"] == 5


def test_rendering_names_systems_scores_and_sentences():
    text = render(run(systems=("runs/a", "runs/b")))
    bleu_row = next(line for line in text.split("\n") if line.startswith("BLEU  "))
    assert f"{bleu(A, REFERENCES, 'de').value:.2f} ±" in bleu_row
    for part in ("A = runs/a", "B = runs/b", REFERENCES[1], "line 2", "smooth:none", "p randomisation", "seed 12345"):
        assert part in text


def test_rendering_is_safe_for_a_terminal():
    hostile = ["\x1b[2J\r\u2028weg\x07", *B[1:4], "w" * 100_000]
    text = render(run(A, hostile))
    assert not set(text) & set("\x1b\r\u2028\x07")
    assert max(map(len, text.split("\n"))) < 500


def test_blank_lines_and_scripts_without_spaces():
    comparison = compare(["", "犬が走る"], ["", "개가 달린다"], ["", ""], ["개", "개가 달린다"], source_language="ja")
    assert [(row.label, row.unit) for row in comparison.bleu_by_length] == [("0", "characters"), ("1-10", "characters")]
    assert "개가 달린다" in render(comparison)


def test_what_is_not_parallel_is_an_error():
    for broken in (
        (SOURCES[1:], REFERENCES, A, B),
        (SOURCES, REFERENCES[1:], A, B),
        (SOURCES, REFERENCES, A[1:], B),
        (SOURCES, REFERENCES, A, B[1:]),
        ([], [], [], []),
    ):
        with pytest.raises(HeedfulError):
            compare(*broken)
