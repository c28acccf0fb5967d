"""Figures of the EVALB program: on the cases that it was run on, and line by line as its definitions say.

The counts in `CASES` follow from the definitions by hand; the C program with `nk.prm` prints the same ones.
"""

import json
from itertools import product
from pathlib import Path

import pytest

from heedful.cli.main import main
from heedful.errors import HeedfulError
from heedful.evaluation.brackets import SentenceScore, score_trees
from heedful.evaluation.evalb import Parameters, read_parameters

EVALB = Path(__file__).resolve().parents[3] / "shared" / "data" / "evalb"
KEYS = {
    "Sent": "sentences",
    "Error": "errors",
    "Skip": "skips",
    "Valid": "valid",
    "Recall": "recall",
    "Precision": "precision",
    "FMeasure": "f1",
    "Complete": "complete_match",
    "AvgCross": "average_crossing",
    "NoCross": "no_crossing",
    "TwoCross": "two_or_fewer_crossing",
    "Tagging": "tagging_accuracy",
}
DOG = "(TOP (S (NP (DT The) (NN dog)) (VP (VBZ runs)) (. .)))"


def counts(gold: str, predicted: str, parameters: Parameters | None = None) -> SentenceScore:
    [score] = score_trees([gold], [predicted], parameters).by_sentence
    return score


def numbers(score: SentenceScore) -> tuple[int, ...]:
    return score.matched, score.gold, score.predicted, score.crossing, score.words, score.tags


CASES = {
    "itself": (DOG, DOG, (3, 3, 3, 0, 3, 3)),
    "punctuation is left out of spans": (
        DOG,
        "(TOP (S (NP (DT The) (NN dog)) (VP (VBZ runs) (. .))))",
        (3, 3, 3, 0, 3, 3),
    ),
    "a word less on each side": (
        "(TOP (S (NN a) (, ,) (NN b)))",
        "(TOP (S (NN a) (NN b) (. .)))",
        (1, 1, 1, 0, 2, 2),
    ),
    "labels are cut, tags are not": (
        "(TOP (S (NP-SBJ (NN-X a)) (VP=2 (VB b))))",
        "(TOP (S-TMP (NP (NN a)) (VP (VB-Y b))))",
        (3, 3, 3, 0, 2, 0),
    ),
    "ADVP is PRT": ("(TOP (VP (VB a) (PRT (RP b))))", "(TOP (VP (VB a) (ADVP (RP b))))", (2, 2, 2, 0, 2, 2)),
    "one for one": ("(TOP (NP (NP (NN a))))", "(TOP (NP (NN a)))", (1, 2, 1, 0, 1, 1)),
    "as often as it stands": ("(TOP (NP (NP (NN a))))", "(TOP (NP (NP (NP (NN a)))))", (2, 2, 3, 0, 1, 1)),
    "a predicted bracket crosses once": (
        "(TOP (S (A (X a) (X b)) (B (X c) (X d))))",
        "(TOP (S (X a) (C (X b) (X c)) (X d)))",
        (1, 3, 2, 1, 4, 4),
    ),
    "two that cross one": (
        "(TOP (S (X a) (A (X b) (X c)) (X d)))",
        "(TOP (S (A (X a) (X b)) (A (X c) (X d))))",
        (1, 2, 3, 2, 4, 4),
    ),
    "traces and what they leave empty": (
        "(TOP (S (NP (-NONE- *T*)) (VP (VB go))))",
        "(TOP (S (VP (VB go))))",
        (2, 2, 2, 0, 1, 1),
    ),
    "an unlabelled bracket counts": ("( (S (NN a)))", "(TOP (S (NN a)))", (1, 2, 1, 0, 1, 1)),
    "an empty bracket does not": ("(TOP (S (NN a)))", "(TOP (S (NP) (NN a)))", (1, 1, 1, 0, 1, 1)),
    "quotes deleted on one side come back": (
        "(TOP (S (NP (NN a) ('' ') (NN b)) (VB c)))",
        "(TOP (S (NP (NN a) (POS ')) (NN b) (VB c)))",
        (1, 2, 2, 0, 4, 3),
    ),
    "quotes come back on the predicted side": (
        "(TOP (S (NP (NN a) (POS ')) (VP (VB b))))",
        "(TOP (S (NP (NN a) ('' ')) (VP (VB b))))",
        (3, 3, 3, 0, 3, 2),
    ),
    "several trees, and labels in the middle of nowhere": (
        "(A (X a)) (B (X b))",
        "(A (X a)) (C (X b))",
        (1, 2, 2, 0, 2, 2),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_counts(name: str) -> None:
    gold, predicted, expected = CASES[name]
    score = counts(gold, predicted)
    assert score.status == "valid"
    assert numbers(score) == expected


@pytest.mark.parametrize(
    ("predicted", "status"),
    [
        ("", "skip"),
        ("(TOP (. .))", "skip"),
        ("(((", "skip"),
        (DOG[:-1], "error"),
        (DOG + ")", "error"),
        ("(TOP (S (NP (DT The) (NN cat)) (VP (VBZ runs)) (. .)))", "error"),
        ("(TOP (S (NP (DT The)) (VP (VBZ runs)) (. .)))", "error"),
        ("(TOP (S (NP ) (NP (DT The) (NN dog)) (VP (VBZ runs)) (. .)))", "error"),
        ("(TOP (S (NP (DT The) (NN dog cat)) (VP (VBZ runs)) (. .)))", "error"),
        ("(TOP (XX The) (XX dog) (XX runs) (XX .))", "error"),
    ],
)
def test_failures(predicted: str, status: str) -> None:
    score = counts(DOG, predicted)
    assert (score.status, score.gold, score.matched, score.predicted) == (status, 3, 0, 0)
    assert score.reason


def test_failures_raise_f1_and_do_not_raise_f1_with_failures_as_misses() -> None:
    half = "(TOP (S (NP (DT The) (NN dog)) (X (VBZ runs)) (. .)))"
    whole = score_trees([DOG, DOG], [half, DOG]).all
    assert whole.f1 == whole.f1_failures_as_misses == pytest.approx(100 * 5 / 6)
    failing = score_trees([DOG, DOG], ["", DOG]).all
    assert (failing.f1, failing.skips, failing.valid, failing.complete_match) == (100, 1, 1, 100)
    assert failing.f1_failures_as_misses == pytest.approx(100 * 2 * 0.5 / 1.5)  # recall 3 of 6, precision 3 of 3


def test_sums_come_before_ratios() -> None:
    gold = ["(TOP (A (X a)))", "(TOP (A (X a) (B (X b) (C (X c)))))"]
    predicted = ["(TOP (B (X a)))", gold[1]]
    scores = score_trees(gold, predicted)
    assert scores.all.recall == scores.all.precision == scores.all.f1 == 75
    assert (scores.all.complete_match, scores.all.no_crossing, scores.all.tagging_accuracy) == (50, 100, 100)
    crossing = score_trees([CASES["two that cross one"][0]] * 2, [CASES["two that cross one"][1], gold[0]]).all
    assert (crossing.average_crossing, crossing.no_crossing, crossing.two_or_fewer_crossing) == (2, 0, 100)


def test_nothing_right_is_zero() -> None:
    scores = score_trees([DOG], ["(TOP (XX The) (XX dog) (XX runs) (. .))"]).all
    assert (scores.recall, scores.precision, scores.f1, scores.valid) == (0, 0, 0, 1)


def test_a_parameter_file_says_what_counts() -> None:
    lines = [
        "# a comment",
        "##",
        "DEBUG 0",
        "MAX_ERROR 10",
        "LABELED 0  ",
        "CUTOFF_LEN 2",
        "DELETE_LABEL X",
        "DELETE_LABEL_FOR_LENGTH DT",
        "QUOTE_LABEL ''",
        "EQ_LABEL NP  VP",
        "EQ_WORD dog\tcat",
    ]
    parameters = read_parameters(lines, "my.prm")
    assert parameters == Parameters(
        labelled=False,
        cutoff=2,
        deleted=frozenset("X"),
        deleted_for_length=frozenset(["DT"]),
        quotes=frozenset(["''"]),
        equal_labels=frozenset([("NP", "VP")]),
        equal_words=frozenset([("dog", "cat")]),
    )
    other = "(TOP (Q (VP (DT The) (NN cat)) (VP (X x) (VBZ runs)) (. .)))"
    assert numbers(counts(DOG, other, parameters)) == (4, 4, 4, 0, 4, 4)
    labelled = read_parameters([line for line in lines if "LABELED" not in line], "my.prm")
    assert numbers(counts(DOG, other, labelled)) == (3, 4, 4, 0, 4, 4)
    short = score_trees([DOG, "(A (DT a) (NN b) (X c))"], [DOG, "(B (DT a) (NN b))"], parameters).short
    assert (short.sentences, short.valid) == (1, 1)  # The dog runs . has 3 words that count in the length, the other 2


@pytest.mark.parametrize("line", ["EQ_LABEL NP", "CUTOFF_LEN forty", "LABELED"])
def test_a_wrong_parameter_is_an_error_with_its_line(line: str) -> None:
    with pytest.raises(HeedfulError, match=r"my.prm, line 2: \w+ needs (two words|a whole number)"):
        read_parameters(["# mine", line], "my.prm")


def test_an_unknown_parameter_is_told(caplog: pytest.LogCaptureFixture) -> None:
    assert read_parameters(["DELETE_LABLE TOP"], "my.prm").deleted == frozenset()
    assert "my.prm, line 1: DELETE_LABLE" in caplog.text


def test_files_of_different_lengths_are_refused() -> None:
    with pytest.raises(HeedfulError, match="2 gold trees, but 1 predicted"):
        score_trees([DOG, DOG], [DOG])
    with pytest.raises(HeedfulError, match="1 gold trees, but 3 predicted"):
        score_trees([DOG], [DOG] * 3)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold, predicted, parameters = (tmp_path / name for name in ("gold.mrg", "predicted.mrg", "my.prm"))
    gold.write_text(f"{DOG}\n{DOG}\n")
    predicted.write_text(f"{DOG}\n\n")
    parameters.write_text("DELETE_LABEL .\n")
    assert main(["score-trees", str(gold), str(predicted)]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("0 errors, 1 skips in 2 sentences\n  line 2: skip, no words are predicted\n")
    assert main(["score-trees", str(gold), str(predicted), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["f1"], report["skips"], report["failures"][0]["line"]) == (100, 1, 2)
    assert set(KEYS.values()) | {"f1_failures_as_misses"} <= report.keys()
    assert main(["score-trees", str(gold), str(predicted), "--json", "--parameters", str(parameters)]) == 0
    assert json.loads(capsys.readouterr().out)["f1_failures_as_misses"] == pytest.approx(100 * 2 / 3)
    assert main(["score-trees", str(gold), str(tmp_path / "none.mrg")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_gold_tags_say_what_is_punctuation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A comma tagged as a noun counts as a word; what has other words stays an error, and no line is lost."""
    gold, predicted = tmp_path / "gold.mrg", tmp_path / "predicted.mrg"
    trace = "(TOP (S (NP (DT The) (NN dog)) (NP (-NONE- *)) (VP (VBZ runs)) (. .)))"
    noun = "(TOP (S (NP (DT The) (NN dog)) (VP (VBZ runs) (NN .))))"
    gold.write_text(f"{DOG}\n{trace}\n{DOG}\n{DOG}\n")
    predicted.write_text(f"{noun}\n{noun}\n{noun.replace('runs', 'ran')}\n(S (NN dog)\n")
    counts = {}
    for flags in ([], ["--gold-tags"]):
        assert main(["score-trees", str(gold), str(predicted), "--json", *flags]) == 0
        shown = capsys.readouterr()
        report = json.loads(shown.out)
        counts[bool(flags)] = report["errors"], report["valid"]
        assert ("2 of the errors are of tags alone" in shown.err) is not bool(flags)
    assert counts == {False: (4, 0), True: (2, 2)}
    gold.write_text(f"{DOG}\n")
    assert main(["score-trees", str(gold), str(predicted), "--gold-tags"]) == 2
    assert "1 gold trees, but 4 predicted" in capsys.readouterr().err


def test_gold_trees_may_go_over_several_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gold, predicted = tmp_path / "gold.mrg", tmp_path / "predicted.mrg"
    predicted.write_text(f"{DOG}\n{DOG}\n")
    below = DOG.removeprefix("(TOP ")
    gold.write_text("( " + below.replace(" (", "\n  (") + f"\n\n( {below}")
    assert main(["score-trees", str(gold), str(predicted), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["valid"], report["recall"], report["precision"]) == (2, 100, 100)
    gold.write_text(f"{DOG})\n{DOG}\n")
    assert main(["score-trees", str(gold), str(predicted), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == 1, "as EVALB has it, line by line"
    gold.write_text(f"{DOG[:-1]}\n{DOG})\n")
    assert main(["score-trees", str(gold), str(predicted), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["errors"] == 2, "of brackets that even out too"


def test_the_layout_of_trees_changes_no_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Blank lines between trees and several lines a tree, on either side; a root that EVALB counts is counted."""
    gold, predicted = [DOG.replace("(TOP ", "(ROOT ")] * 2, [DOG, DOG.replace("(NP ", "(VP ")]
    layouts = {
        "lines": "\n".join,
        "apart": "\n\n".join,
        "spread": lambda trees: "\n".join(tree.replace(" (", "\n  (") for tree in trees),
    }
    paths = tmp_path / "gold.mrg", tmp_path / "predicted.mrg"
    reports = {}
    for layout in product(layouts, repeat=2):
        for path, trees, name in zip(paths, (gold, predicted), layout, strict=True):
            path.write_text(layouts[name](trees) + "\n")
        assert main(["score-trees", *map(str, paths), "--json"]) == 0
        reports[layout] = json.loads(capsys.readouterr().out)
    assert reports.pop(("apart", "apart"))["skips"] == 1, "EVALB compares line by line where there are as many"
    first, *others = reports.values()
    assert others == [first] * 7
    assert first["recall"] < first["precision"] < 100


@pytest.mark.real_data
@pytest.mark.skipif(not EVALB.is_dir(), reason="needs ../shared/data/evalb")
@pytest.mark.parametrize("case", ["noise", "broken", "long", "xx-tags"])
def test_every_figure_is_the_c_program_s(case: str) -> None:
    gold, predicted = ((EVALB / f"{case}.{side}").read_text().splitlines() for side in ("gold", "pred"))
    figures = json.loads((EVALB / "expected.json").read_text())[case]
    scores = score_trees(gold, predicted).all
    assert {name: getattr(scores, key) for name, key in KEYS.items()} == pytest.approx(figures, abs=0.00501)
