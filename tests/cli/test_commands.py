"""Every command on a small trained model, as a user types it."""

import io
import json
import math
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import heedful
from heedful.cli.main import main
from heedful.cli.translate import read_pairs, write_lines
from heedful.errors import HeedfulError
from tests.small import SMALL

LINES = ["4. Mai 2020", "", "2020년 5월 4일", "   ", "May 4, 2020"]


@pytest.fixture(scope="module")
def model(corpus: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    output = tmp_path_factory.mktemp("models") / "dates"
    heedful.train(
        **corpus,
        output=output,
        **(SMALL | {"lr": 0.01, "validate_every": 30}),
        max_steps=60,
    )
    return str(output)


@pytest.fixture
def text(tmp_path: Path) -> str:
    path = tmp_path / "input.txt"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return str(path)


def _out(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def _test_set(corpus: dict[str, Any]) -> list[str]:
    return ["--test", *corpus["valid"]]


def test_one_line_out_for_every_line_in(model: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = _out(capsys, "translate", model, text).split("\n")
    assert len(lines) == len(LINES) + 1
    assert lines[1] == lines[3] == ""


def test_precision_is_told_in_the_report_and_checked(
    model: str, text: str, corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    exact = json.loads(_out(capsys, "evaluate", model, *_test_set(corpus), "--json"))
    rounded = json.loads(_out(capsys, "evaluate", model, *_test_set(corpus), "--json", "--precision", "bfloat16"))
    assert [each["provenance"]["precision"] for each in (exact, rounded)] == ["float32", "bfloat16"]
    assert len(_out(capsys, "translate", model, text, "--precision", "int8").split("\n")) == len(LINES) + 1
    assert main(["translate", model, text, "--precision", "float8"]) == 2
    assert "precision cannot be 'float8'" in capsys.readouterr().err


def test_stdin_gives_what_a_file_gives(
    model: str, text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = _out(capsys, "translate", model, text)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(Path(text).read_bytes())))
    assert _out(capsys, "translate", model) == expected


def test_json_lines_hold_what_the_contract_says(model: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        json.loads(line)
        for line in _out(capsys, "translate", model, text, "--format", "jsonl", "--n-best", "3").split("\n")[:-1]
    ]
    assert [record["source"] for record in records] == LINES
    first = records[0]
    assert {"source", "text", "score", "tokens", "source_tokens", "hypotheses"} <= first.keys()
    assert len(first["hypotheses"]) == 3
    assert first["tokens"][-1] == first["source_tokens"][-1] == "</s>"
    best = first["hypotheses"][0]
    # ((5 + n) / 6)^0.6, n counting EOS (Section 6.1)
    assert first["score"] == pytest.approx(best["log_prob"] / ((5 + len(best["tokens"])) / 6) ** 0.6)


def test_moses_n_best_lists(model: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = _out(capsys, "translate", model, text, "--format", "nbest", "--n-best", "2")
    lines = [line.split(" ||| ") for line in out.split("\n")[:-1]]
    assert [line[0] for line in lines[:2]] == ["0", "0"]
    assert {len(line) for line in lines} == {4}
    assert float(lines[0][3]) >= float(lines[1][3])


def test_alignments_are_within_the_sentences(model: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    texts = _out(capsys, "translate", model, text).split("\n")
    for source, output, line in zip(
        LINES, texts, _out(capsys, "translate", model, text, "--format", "pharaoh").split("\n"), strict=False
    ):
        for pair in line.split():
            from_word, to_word = map(int, pair.split("-"))
            assert from_word < len(source.split())
            assert to_word < len(output.split())


def test_the_output_file_appears_whole(
    model: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = _out(capsys, "translate", model, text)
    assert _out(capsys, "translate", model, text, "--output", str(tmp_path / "out.txt")) == ""
    assert (tmp_path / "out.txt").read_text() == expected


def test_the_input_is_not_written_over(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, link = tmp_path / "in.txt", tmp_path / "link.txt"
    path.write_text("4. Mai 2020\n")
    link.symlink_to(path)
    for output in (path, link):
        for command in (
            ["translate", model, path],
            ["score", model, path, path],
            ["evaluate", model, "--test", path, path],
        ):
            assert main([*map(str, command), "--output", str(output)]) == 2
            assert "is the input too" in capsys.readouterr().err
    assert path.read_text() == "4. Mai 2020\n"


def test_a_line_of_ten_megabytes_is_still_one_line(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "long.txt"
    path.write_text("4. Mai 2020 " * 900_000 + "\n4. Mai 2020\n")
    lines = _out(capsys, "translate", model, str(path), "--beam-size", "1", "--max-extra-tokens", "1")
    assert lines.count("\n") == 2


def test_scores_are_log_probabilities_of_the_pairs(
    model: str, corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = [float(line) for line in _out(capsys, "score", model, *corpus["valid"]).split("\n")[:-1]]
    report = json.loads(_out(capsys, "evaluate", model, *_test_set(corpus), "--json"))
    assert len(scores) == report["sentences"] == 7
    words = sum(len(line.split()) for line in Path(corpus["valid"][1]).read_text().split("\n"))
    assert report["perplexity_per_word"] == pytest.approx(math.exp(-sum(scores) / words), rel=1e-3)


def test_evaluate_reports_every_key_of_the_contract(
    model: str, corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(_out(capsys, "evaluate", model, *_test_set(corpus), "--json"))
    assert {
        "bleu", "bleu_signature", "chrf", "chrf_signature", "bleu_lowercased_tokenized",
        "perplexity", "perplexity_per_word", "sentences",
    } <= report.keys()  # fmt: skip
    assert "BLEU" in _out(capsys, "evaluate", model, *_test_set(corpus))


def test_a_model_compared_with_itself_differs_nowhere(
    model: str, corpus: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(_out(capsys, "compare", model, model, *_test_set(corpus), "--json"))
    assert report["equal"] == 7
    assert _out(capsys, "compare", model, model, *_test_set(corpus))


def test_inspect_writes_all_four_kinds_of_files(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib", reason="PNG needs the plot extra")
    for suffix in ("html", "png", "npz", "json"):
        _out(capsys, "inspect", model, "4. Mai 2020", "--output", str(tmp_path / f"a.{suffix}"))
        assert (tmp_path / f"a.{suffix}").stat().st_size > 100
    arrays = np.load(tmp_path / "a.npz")
    layers, heads, queries, keys = arrays["cross"].shape
    assert (layers, heads) == (SMALL["layers"], SMALL["heads"])
    assert (queries, keys) == (len(arrays["tokens"]), len(arrays["source_tokens"]))
    np.testing.assert_allclose(arrays["cross"].sum(-1), 1.0, atol=1e-5)


def test_inspect_can_force_a_target(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--target", "2020-05-04", "--output", str(tmp_path / "a.json")]
    assert "2020-05-04" in _out(capsys, "inspect", model, "4. Mai 2020", *flags)
    assert "".join(json.loads((tmp_path / "a.json").read_text())["tokens"]) == "▁2020-05-04</s>"


def test_an_average_is_a_model(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    _out(capsys, "average", model, "--last", "2", "--output", str(tmp_path / "mean"))
    assert _out(capsys, "translate", str(tmp_path / "mean"), text).count("\n") == len(LINES)


def test_info_counts_the_parameters(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    facts = json.loads(_out(capsys, "info", model, "--json"))
    d, d_ff, vocab = SMALL["d_model"], SMALL["d_ff"], facts["vocabulary"][0]
    attention, feed_forward, norm = 4 * (d * d + d), 2 * d * d_ff + d_ff + d, 2 * d
    layers = (attention + feed_forward + 2 * norm) + (2 * attention + feed_forward + 3 * norm)
    assert facts["parameters"] == vocab * d + layers + 2 * norm  # pre-norm: one more after each stack
    assert facts["step"] in {30, 60}
    assert "recipe: tiny" in _out(capsys, "info", model)


def test_check_data_reports_and_refuses_only_what_train_refuses(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = json.loads(_out(capsys, "check-data", *corpus["train"], "--valid", *corpus["valid"], "--json"))
    assert report["refuses"] == []
    short = tmp_path / "short.target"
    short.write_text("2020-05-04\n")
    assert main(["check-data", corpus["train"][0], str(short), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["refuses"]


def test_a_test_set_is_no_reason_to_refuse(
    corpus: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-data", *corpus["train"], "--test", str(tmp_path / "no.jsonl")]) == 0
    told = capsys.readouterr()
    assert "train would take this" in told.out
    assert "no.jsonl does not exist" in told.err


def test_test_sets_are_read_in_the_models_languages(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"translation": {"de": "Ein Hund", "en": "A dog", "fr": "Un chien"}}\n')
    english_german: Any = SimpleNamespace(loaded=[SimpleNamespace(config={"languages": ["en", "de"]})])
    corpus, pairs = read_pairs([str(path)], english_german)
    assert (corpus.source_lang, corpus.target_lang) == ("en", "de")
    assert pairs == [("A dog", "Ein Hund")]
    path.write_text('{"translation": {"de": "Ein Hund", "en": "A dog"}}\n')
    unnamed: Any = SimpleNamespace(loaded=[SimpleNamespace(config={"languages": ["source", "target"]})])
    assert read_pairs([str(path)], unnamed)[1] == [("Ein Hund", "A dog")]


def test_output_may_be_a_device_or_a_link(tmp_path: Path) -> None:
    device, link = tmp_path / "null", tmp_path / "link"
    device.symlink_to("/dev/null")
    link.symlink_to(tmp_path / "text")
    (tmp_path / "text").write_text("old")
    for path in (device, link):
        write_lines(path, ["new"])
        assert path.is_symlink()
    assert Path("/dev/null").is_char_device()
    assert (tmp_path / "text").read_text() == "new\n"
    with pytest.raises(HeedfulError, match="Is a directory; name another --output"):
        write_lines(tmp_path, ["new"])


def test_sigterm_removes_what_is_half_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    _out(capsys, "recipes")

    def killed() -> Iterator[str]:
        yield "one line"
        os.kill(os.getpid(), signal.SIGTERM)
        yield "another"

    try:
        with pytest.raises(SystemExit) as left:
            write_lines(tmp_path / "text", killed())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert left.value.code == 143
    assert not list(tmp_path.iterdir())
