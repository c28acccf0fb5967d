"""Training a parser, parsing and scoring it, as a user types it."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

import heedful
from heedful import HeedfulError, checkpoint
from heedful.cli.main import main
from heedful.data.tokenizer import EOS
from heedful.data.treebank.config import TreeConfig
from heedful.data.treebank.linearisation import Linearisation
from heedful.data.treebank.reading import read_trees, trees_in
from heedful.data.treebank.tree import Tree
from heedful.evaluation.brackets import score_trees
from tests.small import SMALL
from tests.treebank import write_treebank

FIELDS = SMALL | {"lr": 0.02, "validate_every": 60, "dropout": 0.0, "attention_dropout": 0.0, "max_extra_tokens": 25}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    directory = tmp_path_factory.mktemp("trees")
    sizes = {"train": 150, "valid": 8, "test": 12}
    return {
        part: write_treebank(directory / f"{part}.mrg", seed, size) for seed, (part, size) in enumerate(sizes.items())
    }


@pytest.fixture(scope="module")
def model(data: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("models") / "parser"
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in (FIELDS | {"max_steps": 120}).items()]
    trees = ["--train-trees", data["train"], "--valid-trees", data["valid"]]
    assert main(["train", "--recipe", "parse-small", *trees, "--output", str(output), *flags]) == 0
    return str(output)


def out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def error(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    *notes, told = capsys.readouterr().err.splitlines()
    assert told.startswith("heedful: error: ")
    assert all("trees are few" in note for note in notes)
    return told


def test_the_model_is_the_checkpoint_of_the_best_f1(model: str, data: dict[str, str]) -> None:
    made = checkpoint.all_checkpoints(Path(model))
    assert all(each.bleu is None and each.f1 is not None for each in made)
    chosen = checkpoint.load_model(Path(model)).checkpoint
    assert chosen.f1 == max(each.f1 or 0 for each in made)
    records = [json.loads(line) for line in (Path(model) / "metrics.jsonl").read_text().splitlines()]
    validations = [record for record in records if "valid_f1" in record]
    assert [record["valid_f1"] for record in validations] == [each.f1 for each in made]
    assert "valid_bleu" not in validations[0]
    hypotheses = Path(model) / "hypotheses" / f"{chosen.name}.txt"
    gold = [tree.words() for _, tree in read_trees(data["valid"])]
    assert [tree.words() for _, tree in read_trees(hypotheses)] == gold


def test_it_learns(model: str, data: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """The toy's brackets follow from its words, and flat trees have no other bracket right than the outer one."""
    report = json.loads(out(capsys, "evaluate", model, "--test-trees", data["test"], "--json"))
    gold = [tree for _, tree in read_trees(data["test"])]
    flat = [str(Tree("TOP", (Tree("S", tuple(tree.leaves())),))) for tree in gold]
    assert report["f1"] > 1.3 * score_trees(map(str, gold), flat).all.f1
    assert (report["errors"], report["skips"], report["valid"]) == (0, 0, 12)
    assert report["f1"] == report["f1_failures_as_misses"]
    assert 50 < report["tagging_accuracy"] < 100  # the last word's tag is a matter of luck
    assert 1 < report["perplexity"] < report["perplexity_per_word"]
    assert report["provenance"]["recipe"] == "parse-small"
    assert sum(group["sentences"] for group in report["f1_by_length"]) == 12


def test_evaluate_scores_what_parse_writes_with_gold_tags(
    model: str, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predicted = tmp_path / "predicted.mrg"
    shown = out(capsys, "evaluate", model, "--test-trees", data["test"], "--output", str(predicted))
    assert shown.startswith("0 errors, 0 skips in 12 sentences\n")
    words = tmp_path / "words.txt"
    words.write_text("".join(" ".join(tree.words()) + "\n" for _, tree in read_trees(data["test"])))
    assert out(capsys, "parse", model, str(words)) == predicted.read_text()
    whole = json.loads(out(capsys, "evaluate", model, "--test-trees", data["test"], "--json"))
    tagged = [tree.tags() for _, tree in read_trees(predicted)]
    gold = [tree.tags() for _, tree in read_trees(data["test"])]
    right = sum(
        own == tag for mine, theirs in zip(tagged, gold, strict=True) for own, tag in zip(mine, theirs, strict=True)
    )
    assert whole["tagging_accuracy"] == pytest.approx(100 * right / sum(map(len, gold)))


def test_a_test_set_without_words_is_told(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "traces.mrg"
    path.write_text("(TOP (S (NP (-NONE- *))))\n")
    assert main(["evaluate", model, "--test-trees", str(path)]) == 2
    assert "traces.mrg has no tree with a word in it" in capsys.readouterr().err


def test_the_input_is_not_written_over(
    model: str, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "trees.mrg"
    path.write_text(before := Path(data["test"]).read_text())
    for command in (["parse", model, str(path)], ["evaluate", model, "--test-trees", str(path)]):
        assert main([*command, "--output", str(path)]) == 2
        assert "is the input too" in capsys.readouterr().err
    assert path.read_text() == before


def test_parse_takes_trees_for_their_words_and_tags(
    model: str, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parsed = tmp_path / "parsed.mrg"
    assert out(capsys, "parse", model, data["test"], "--output", str(parsed), "--beam-size", "1") == ""
    pairs = zip(read_trees(data["test"]), read_trees(parsed), strict=True)
    assert all(own.leaves() == given.leaves() for (_, given), (_, own) in pairs)
    scores = json.loads(out(capsys, "score-trees", data["test"], str(parsed), "--json"))
    assert (scores["errors"], scores["skips"], scores["tagging_accuracy"]) == (0, 0, 100)


def test_a_line_for_every_line(model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\nthe dog ( near the cat ) sees\n   \n( the cat )\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    lines = out(capsys, "parse", model).split("\n")
    assert [bool(line) for line in lines] == [False, True, False, True, False]
    assert lines[3].count(" the)") == 1
    assert "-LRB-)" in lines[3]


@pytest.mark.parametrize(
    ("text", "kind", "first"),
    [
        ("( the dog )", "auto", "-LRB-"),
        ("( ( S (DT the)) )", "words", "-LRB-"),
        ("(S\n (DT the)\n)", "auto", "the"),
        ("(\n(S (DT the)))", "auto", "the"),
        ("( (S (DT the)))", "auto", "the"),
        ("(the", "words", "-LRB-the"),
    ],
)
def test_words_and_trees_are_told_apart(
    model: str, text: str, kind: str, first: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "input"
    path.write_text(text + "\n")
    parsed = tmp_path / "parsed.mrg"
    out(capsys, "parse", model, str(path), "--input-format", kind, "--output", str(parsed))
    assert next(read_trees(parsed))[1].words()[0] == first


def test_only_spaces_separate_words(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As in files of trees, so that words given as text are as many as in their tree."""
    path = tmp_path / "words.txt"
    path.write_text("the 5\u00a0mg\tdog  a\u2028b\n")
    [tree] = [found for _, found in trees_in(out(capsys, "parse", model, str(path)).split("\n"))]
    assert tree.words() == ["the", "5\u00a0mg", "dog", "a\u2028b"]


def test_the_input_may_stand_behind_an_option(
    model: str, data: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = out(capsys, "parse", model, data["test"], "--pretty")
    assert out(capsys, "parse", model, "--pretty", data["test"]) == wanted
    assert out(capsys, "parse", "--pretty", "--threads", "1", model, data["test"]) == wanted
    assert "unexpected argument more" in error(capsys, "parse", model, data["test"], "--pretty", "more")
    assert "unexpected argument more" in error(capsys, "parse", model, "--pretty", data["test"], "more")


def test_drawn(model: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"the dog\n")))
    shown = out(capsys, "parse", model, "--pretty")
    assert shown.startswith("TOP\n└─ ")
    assert shown.endswith(" dog\n\n")


def test_several_parsers_parse_together(model: str, data: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    alone = out(capsys, "parse", model, data["test"])
    assert out(capsys, "parse", model, data["test"], "--ensemble", model) == alone


def test_an_ensembles_scores_are_of_all_members_and_name_them(
    model: str, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = str(tmp_path / "average")
    out(capsys, "average", model, "--last", "2", "--output", other)

    def evaluate(first: str, *more: str) -> dict[str, Any]:
        ensemble = ["--ensemble", *more] if more else []
        report: dict[str, Any] = json.loads(
            out(capsys, "evaluate", first, "--test-trees", data["test"], "--json", *ensemble)
        )
        return report

    reports = [evaluate(model), evaluate(other), evaluate(model, other), evaluate(other, model)]
    one, two, together, turned = (report["perplexity"] for report in reports)
    assert one != two
    assert together == pytest.approx(turned)
    assert together < max(one, two)
    assert abs(together - two) > 1e-6 < abs(together - one)
    names = [f"{report['provenance']['model']}, {report['provenance']['checkpoint']}" for report in reports[:2]]
    assert [report["provenance"]["ensemble"] for report in reports] == [[], [], names[1:], names[:1]]


def test_raw_treebanks_are_scored_as_they_are(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Traces, function tags, no root, several lines; a sentence of nothing but a trace is no sentence."""
    path = tmp_path / "raw.mrg"
    path.write_text(
        "( (S (NP-SBJ (DT the) (NN dog))\n (VP (VBZ sees) (NP (-NONE- *T*-1)) (NP (NP (DT the) (NN cat)))) (. .)))\n"
        "(X (-NONE- *))\n"
    )
    report = json.loads(out(capsys, "evaluate", model, "--test-trees", str(path), "--json"))
    assert (report["sentences"], report["errors"], report["skips"]) == (1, 0, 0)


def test_what_does_not_fit_is_told(
    model: str, data: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trees = ["--train-trees", data["train"], "--valid-trees", data["valid"]]
    run = ["--output", str(tmp_path / "run")]
    assert "give it --test-trees" in error(capsys, "evaluate", model, "--test", "a.en", "a.de")
    assert "--train-trees is missing" in error(capsys, "train", "--recipe", "parse-small", *run)
    assert "--valid-trees is missing" in error(capsys, "train", *trees[:2], *run)
    assert "--train-trees is not for recipe tiny: give it --train" in error(
        capsys, "train", "--recipe", "tiny", *trees, *run
    )
    assert "--train is not for recipe parse-small: give it --train-trees" in error(
        capsys, "train", "--recipe", "parse-small", "--train", "a.en", "a.de", "--valid", "a.en", "a.de", *run
    )
    assert "vocabulary joint" in error(capsys, "train", *trees, *run, "--vocabulary", "joint")
    assert "linearisation cannot be 'up'" in error(capsys, "train", *trees, *run, "--linearisation", "up")
    assert "recipe tiny makes text of text" in error(
        capsys, "train", "--train", "a.en", "a.de", "--valid", "a.en", "a.de", *run, "--leaves", "tags"
    )
    assert "deterministic-attention is for parsers" in error(
        capsys,
        "train",
        "--train",
        "a.en",
        "a.de",
        "--valid",
        "a.en",
        "a.de",
        *run,
        "--deterministic-attention",
        "stack",
    )
    broken = tmp_path / "broken.mrg"
    broken.write_text("(S (NN a))\n(S (NN b)\n")
    assert "broken.mrg, line 2" in error(capsys, "train", "--train-trees", str(broken), *trees[2:], *run)
    assert "broken.mrg, line 2" in error(capsys, "train", *trees[:2], "--valid-trees", str(broken), *run)
    assert "broken.mrg, line 2" in error(capsys, "parse", model, str(broken))
    assert "broken.mrg, line 2" in error(capsys, "evaluate", model, "--test-trees", str(broken))
    assert not (tmp_path / "run").exists()


def test_a_model_that_makes_text_is_no_parser(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heedful.train(**corpus, output=tmp_path / "text", **SMALL, max_steps=1)
    assert "makes text, not trees" in error(capsys, "parse", str(tmp_path / "text"))
    with pytest.raises(HeedfulError, match="makes text, not trees"):
        heedful.load_parser(tmp_path / "text")
    assert "trees" not in checkpoint.load_config(tmp_path / "text")


def test_what_the_tokens_are_is_saved_with_the_weights(model: str) -> None:
    loaded = checkpoint.load_model(Path(model))
    attention = loaded.model.deterministic_attention
    source, target = loaded.tokenizers.source, loaded.tokenizers.target
    sentence = "the dog sees the cat ."
    assert attention.word_starts[[*source.encode(sentence), EOS]].sum() == 6 + 1
    tables = {"leaves": attention.leaves, "opening": attention.opening, "closing": attention.closing}
    symbols = {
        kind: {piece[1:] for piece in target.pieces(t.nonzero().flatten().tolist())} for kind, t in tables.items()
    }
    labels = {"S", "NP", "VP", "PP"}
    assert symbols["leaves"] == {"DT", "NN", "IN", "VBZ", ".", "-RRB-"}
    assert symbols["opening"] == {f"({label}" for label in labels}
    assert symbols["closing"] == {f"){label}" for label in labels}
    assert attention.in_order


def test_a_parser_in_python(model: str) -> None:
    [parse] = heedful.load_parser(model).parse("the dog sees the cat .")
    assert parse.tree
    assert parse.tree.words() == ["the", "dog", "sees", "the", "cat", "."]
    assert parse.translation.attention is not None


def test_a_plan(data: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--layers=1", "--d-model=16", "--d-ff=32", "--heads=2", "--vocab-size=340", "--seconds=0.5"]
    made = json.loads(out(capsys, "plan", "parse-small", "--train-trees", data["train"], *small, "--json"))
    trees = [tree for _, tree in read_trees(data["train"])]
    symbols = TreeConfig(linearisation="in-order", leaves="tags")
    lengths = [len(Linearisation(symbols).symbols(tree)) + 1 for tree in trees]
    assert made["data"]["lines"] == len(trees)
    assert made["data"]["target_tokens"] == pytest.approx(sum(lengths) / len(trees))
    assert "give it --train-trees" in error(capsys, "plan", "parse-small", "--train", "a.en", "a.de", *small)
    assert "give it --train" in error(capsys, "plan", "tiny", "--train-trees", data["train"])


def test_training_goes_on_and_starts_from_another_parser(data: dict[str, str], tmp_path: Path) -> None:
    trees: dict[str, Any] = {"train_trees": data["train"], "valid_trees": data["valid"]}
    fields = FIELDS | {"linearisation": "top-down", "leaves": "placeholder", "substitution": 0.3}
    heedful.train(**trees, output=tmp_path / "a", **fields, max_steps=2)
    assert heedful.train(**trees, output=tmp_path / "a", **fields, max_steps=4).position.step == 4
    with pytest.raises(HeedfulError, match="leaves placeholder → tags"):
        heedful.train(**trees, output=tmp_path / "a", **(fields | {"leaves": "tags"}), max_steps=4)
    heedful.train(**trees, output=tmp_path / "b", init_from=tmp_path / "a", max_steps=1, threads=1, validate_every=9)
    assert checkpoint.load_config(tmp_path / "b")["trees"]["leaves"] == "placeholder"
    assert [checkpoint.load_config(tmp_path / name)["data"]["substitution"] for name in "ab"] == [0.3, 0.06]
    with pytest.raises(HeedfulError, match="--leaves cannot change with --init-from"):
        heedful.train(**trees, output=tmp_path / "c", init_from=tmp_path / "a", max_steps=1, leaves="tags")
