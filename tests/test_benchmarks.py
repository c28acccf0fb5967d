"""The benchmarks' own bookkeeping, and the GPU script's dry run; no peer needs to be installed."""

import json
import re
import sys
from pathlib import Path

import pytest

import heedful
from benchmarks import gpu, parsing
from benchmarks.contender import Bench, from_metrics
from benchmarks.contenders import Heedful, contenders
from benchmarks.environments import ENVIRONMENTS, python_of
from benchmarks.eole import Eole
from benchmarks.joeynmt import Joey
from benchmarks.plots import curve, draw_bleu, draw_speeds, read_results, save_results
from benchmarks.processes import ContenderError, run
from benchmarks.report import replace_section
from benchmarks.shapes import SHAPES, TrainingShape, shape
from benchmarks.tables import Spread, ratios, table
from benchmarks.text import Text, target_tokens
from heedful.recipes.named import recipe
from tests.small import SMALL
from tests.treebank import write_treebank


def bench(tmp_path: Path, tokens: list[int]) -> Bench:
    pair = tmp_path / "one.en", tmp_path / "one.de"
    return Bench(shape("tiny"), Text(tmp_path), tmp_path / "start", tmp_path / "batches.npz", pair, tokens, 2)


def test_a_ratio_is_taken_round_by_round() -> None:
    # the machine was twice as slow in the second round; the ratio does not see it
    assert ratios([300.0, 150.0, 330.0], [100.0, 50.0, 100.0]) == Spread(3.0, 3.0, 3.3)
    assert Spread.of([1500.0, 1000.0, 1250.0]).show() == "1,250 (1,000–1,500)"


def test_tables_are_markdown() -> None:
    assert table(["", "b"], [["x", "1"]]) == "|  | b |\n| --- | ---: |\n| x | 1 |"


def test_a_section_is_replaced_and_the_prose_stays(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    path.write_text("# Speed\n\nBefore.\n\n<!-- bench:a -->\nold\n<!-- /bench:a -->\n\nAfter.\n")
    replace_section(path, "a", r"new \1")
    replace_section(path, "b", "first time")
    assert path.read_text() == (
        "# Speed\n\nBefore.\n\n<!-- bench:a -->\nnew \\1\n<!-- /bench:a -->\n\nAfter.\n\n"
        "<!-- bench:b -->\nfirst time\n<!-- /bench:b -->\n"
    )


def test_tokens_a_second_are_real_tokens_over_the_measured_updates(tmp_path: Path) -> None:
    tiny = shape("tiny")
    last = tiny.warm_up + tiny.measured
    tokens = [10**6] * tiny.warm_up + [100] * tiny.measured + [10**6]
    # a slow warm-up, then two seconds an update
    begun = [100.0 * update for update in range(tiny.warm_up)]
    begun += [begun[-1] + 100 + 2.0 * update for update in range(tiny.measured + 1)]
    lines = [
        json.dumps({"step": step + 1, "loss": 5.0 - step, "minutes": seconds / 60})
        for step, seconds in enumerate(begun)
    ]
    path, made = tmp_path / "metrics.jsonl", bench(tmp_path, tokens)
    assert from_metrics(path, made) is None
    path.write_text("\n".join(lines[:last]) + "\n" + lines[last])  # the last line is not whole yet
    assert from_metrics(path, made) is None
    path.write_text("\n".join(lines) + "\n")
    found = from_metrics(path, made)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(50.0)
    assert found.losses[:3] == [5.0, 4.0, 3.0]


def test_joeys_log_is_understood(tmp_path: Path) -> None:
    made = bench(tmp_path, [])
    log = tmp_path / "run" / "train.log"
    log.parent.mkdir()
    line = "- Epoch   1, Step:  {}, Batch Loss:   7.5, Batch Acc: 0.07, Tokens per Sec:   {}, Lr: 0.000038\n"
    # warm-up, then updates of equal size at 100 and at 300 tokens a second: 150 in all
    speeds = [9] * made.shape.warm_up + [100, 300] * (made.shape.measured // 2) + [150] * (made.shape.measured % 2)
    log.write_text("".join(line.format(step, speed) for step, speed in enumerate(speeds)))
    found = Joey(Path("python")).progress(made, tmp_path)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(150.0)


def test_eoles_log_is_understood(tmp_path: Path) -> None:
    line = "Step  {}/ 20; acc: 0.0; xent: 9.02; lr: 2e-08; sents: 189; bsz: 2079/3258/189; 219/{} tok/s;     76 sec;\n"
    # two updates of warm-up, five at 100 target tokens a second
    log = tmp_path / "train.log"
    log.write_text("".join(line.format(step, 9 if step < 2 else 100) for step in range(7)))
    found = Eole(Path("python")).progress(bench(tmp_path, []), tmp_path)
    assert found is not None
    assert found.tokens_per_second == pytest.approx(100.0)


def test_a_process_is_ended_when_it_has_done_enough(tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    code = f"import time, pathlib; x = bytearray(64 << 20); pathlib.Path({str(flag)!r}).touch(); time.sleep(60)"
    finished = run([sys.executable, "-c", code], tmp_path / "log", until=flag.exists)
    assert finished.seconds < 30
    if sys.platform == "linux":
        assert finished.peak_mib > 64


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ContenderError, match=r"exit code 1: .*no such thing"):
        run([sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "log")


def test_without_peers_heedful_runs_alone_and_the_others_are_named(tmp_path: Path) -> None:
    pythons = {each.name: python_of(tmp_path, each.name) for each in ENVIRONMENTS}
    who, missing = contenders(shape("tiny"), pythons)
    assert {type(each) for each in who} == {Heedful}
    assert missing == ["huggingface", "joeynmt", "eole"]


@pytest.mark.parametrize("each", SHAPES, ids=lambda each: each.name)
def test_every_shape_fits_its_recipe(each: TrainingShape) -> None:
    assert recipe(each.recipe).override(each.fields).data.batch_tokens <= 4096


def test_a_curve_has_the_minutes_of_the_last_update(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    records = [{"step": 1, "loss": 9.0, "minutes": 0.5}, {"step": 1, "valid_bleu": 3.0}]
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert curve(path) == ([0.5], [3.0])
    assert curve(path, cores=2) == ([1.0], [3.0])
    draw_bleu({"a": curve(path)}, tmp_path / "bleu.png")
    assert (tmp_path / "bleu.png").read_bytes().startswith(b"\x89PNG")


def test_results_are_kept_for_the_picture(tmp_path: Path) -> None:
    groups = {"training, tiny": {"heedful, float32": [2.0, 3.0], "another": [1.0]}}
    save_results(tmp_path / "results", "training", "tokens/s", groups)
    found = read_results(tmp_path / "results")
    assert found == {"training, tiny": ("tokens/s", groups["training, tiny"])}
    draw_speeds(found, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_the_gpu_script_dry_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = tmp_path / "report.md"
    given = ["--dry-run", "--shapes", "base", "--rounds", "1", "--peak-tflops", "0.001"]
    given += ["--work", str(tmp_path / "work"), "--peers", str(tmp_path / "none"), "--report", str(report)]
    monkeypatch.setattr(sys, "argv", ["gpu", *given])
    gpu.main()
    row = next(line for line in report.read_text().splitlines() if "heedful, bfloat16" in line)
    speed, used = (cell.strip() for cell in row.split("|")[3:5])
    # utilisation is the speed times the formula's FLOPs of a token over the peak
    made = gpu.training.prepare(
        gpu.small(gpu.SHAPES[0]), Text(tmp_path / "work" / "dates", "source", "target"), tmp_path / "work", 1
    )
    expected = float(speed.split()[0].replace(",", "")) * gpu.flops_of_a_token(made) / 1e9
    assert float(used.removesuffix(" %")) == pytest.approx(100 * expected, rel=0.05, abs=0.1)
    assert sum(target_tokens(made.batches)) > 0
    assert "not installed" in report.read_text()


def test_the_parsing_benchmark_runs_both_searches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trees = write_treebank(tmp_path / "trees.mrg", 1, 20)
    heedful.train(train_trees=trees, valid_trees=trees, output=tmp_path / "run", **SMALL, max_steps=1)
    flags = [trees, "--sentences", "3", "--words", "5", "--rounds", "1", "--max-extra-tokens", "9"]
    monkeypatch.setattr(sys, "argv", ["parsing", str(tmp_path / "run"), *flags])
    parsing.main()
    printed = capsys.readouterr().out
    assert re.search(r"\| constrained \| [\d.]+ \| [\d.]+ \|\n\| unconstrained ", printed)
    texts = parsing.texts_of(Path(trees), heedful.load_parser(tmp_path / "run"), 500, 7)
    assert [len(text.split()) for text in texts] == [7] * 500
