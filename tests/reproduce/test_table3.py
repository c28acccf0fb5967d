"""Table 3: sizes that keep the rows' ratios, orders against arithmetic, and the command on a tiny corpus."""

import csv
import itertools
import math
import shutil
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heedful.cli.main import main
from heedful.data.corpus import Corpus
from heedful.errors import HeedfulError
from heedful.model.complexity import parameters
from heedful.model.config import TransformerConfig
from heedful.recipes.named import recipe
from heedful.recipes.table3 import BASE, BIG, ROWS, Row
from heedful.reproduce import queue
from heedful.reproduce.queue import Result
from heedful.reproduce.table3.agreement import Pairs, correlation, kendall, pairs
from heedful.reproduce.table3.data import corpora
from heedful.reproduce.table3.profile import PROFILES, Profile, chosen_rows
from heedful.reproduce.table3.report import headline, save_report, sheets, to_csv
from heedful.reproduce.table3.table import Line, Table
from heedful.training.optimizer import learning_rate
from heedful.training.trainer import Trainer

SCALED = [profile for profile in PROFILES.values() if profile.steps]


def _transformer(row: Row, profile: Profile = PROFILES["paper"]) -> TransformerConfig:
    model = profile.recipe(row).model
    assert isinstance(model, TransformerConfig)
    return model


@pytest.mark.parametrize("profile", SCALED, ids=lambda profile: profile.name)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_keeps_its_ratios(row: Row, profile: Profile) -> None:
    full, small = recipe(row.recipe), profile.recipe(row)
    assert small.name == full.name
    big, little = _transformer(row), _transformer(row, profile)
    # integers of the paper that have to be divided without rest, heads and rates that stay
    for field, factor in (("d_model", profile.width), ("d_ff", profile.width), ("layers", profile.depth)):
        assert getattr(little, field) * factor == getattr(big, field)
    assert (little.d_k or little.d_model // little.heads) * profile.width == (big.d_k or big.d_model // big.heads)
    for field in ("heads", "dropout", "positions", "norm_position", "share_embeddings"):
        assert getattr(little, field) == getattr(big, field)
    assert small.training.label_smoothing == full.training.label_smoothing
    assert small.decoding == full.decoding
    base = profile.recipe(ROWS[0]).training
    assert small.training.max_steps == base.max_steps * (3 if row.name == BIG else 1)  # type: ignore[operator]


@pytest.mark.parametrize("profile", SCALED[1:], ids=lambda profile: profile.name)
@pytest.mark.parametrize("row", [row for row in ROWS if row.name != "E"], ids=lambda row: row.name)
def test_every_row_keeps_its_share_of_the_parameters(row: Row, profile: Profile) -> None:
    """All but biases and norms, which grow with the width alone: a small model has more of them, to a twelfth."""

    def count(which: Profile) -> int:
        made = which.recipe(row)
        return parameters(made.model, made.data.vocab_size, made.data.vocab_size).total

    assert count(profile) * profile.width**2 * profile.depth == pytest.approx(count(PROFILES["paper"]), rel=1 / 12)


@pytest.mark.parametrize("profile", SCALED[1:], ids=lambda profile: profile.name)
def test_the_learning_rate_is_the_paper_s_curve_pressed_together(profile: Profile) -> None:
    full, small = recipe("base").training, profile.recipe(ROWS[0]).training
    factor = (full.max_steps or 0) / (small.max_steps or 1)
    assert full.warmup_steps / small.warmup_steps == pytest.approx(factor)
    for step in (1, small.warmup_steps, 3 * small.warmup_steps, small.max_steps or 0):
        paper = min((step * factor) ** -0.5, step * factor * 4000**-1.5) / math.sqrt(512 // profile.width)
        assert learning_rate(small, step, 512 // profile.width) == pytest.approx(paper)


def test_rows_are_chosen_by_name_and_base_is_among_them() -> None:
    assert [row.name for row in chosen_rows(" B2,A1 ")] == [BASE, "A1", "B2"]
    assert chosen_rows(None) == ROWS
    with pytest.raises(HeedfulError, match="'F1' is no row of Table 3; its rows are base, A1"):
        chosen_rows("A1,F1")


def _by_hand(x: list[float], y: list[float]) -> float:
    """τ_b: (P - Q) / sqrt((P + Q + X0) (P + Q + Y0)), with ties on one side alone."""
    alike = opposite = only_x = only_y = 0
    for one, other in itertools.combinations(range(len(x)), 2):
        product = (x[one] - x[other]) * (y[one] - y[other])
        alike, opposite = alike + (product > 0), opposite + (product < 0)
        only_x += x[one] == x[other] and y[one] != y[other]
        only_y += y[one] == y[other] and x[one] != x[other]
    return (alike - opposite) / math.sqrt((alike + opposite + only_x) * (alike + opposite + only_y))


def test_kendall() -> None:
    assert kendall(np.arange(5.0), np.arange(5.0)) == 1
    assert kendall(np.arange(5.0), -np.arange(5.0)) == -1
    assert kendall(np.array([1.0, 2, 3, 4]), np.array([1.0, 3, 2, 4])) == pytest.approx((5 - 1) / 6)
    assert math.isnan(kendall(np.ones(3), np.arange(3.0)))
    generator = np.random.default_rng(3)
    for _ in range(20):
        x, y = generator.integers(4, size=(2, 11)).astype(float)
        assert kendall(x, y) == pytest.approx(_by_hand(x.tolist(), y.tolist()))


def test_the_interval_of_a_correlation() -> None:
    paper = list(np.linspace(4, 6, 20))
    perfect = correlation(paper, [[value] for value in paper])
    assert perfect is not None
    assert (perfect.tau, perfect.low, perfect.high) == (1, 1, 1)
    generator = np.random.default_rng(1)

    def noisy(rows: int, spread: float) -> tuple[float, float, float]:
        theirs = np.linspace(4, 6, rows)
        found = correlation(theirs.tolist(), [[value + generator.normal(0, spread)] for value in theirs])
        assert found is not None
        return found.low, found.tau, found.high

    low, tau, high = noisy(20, 0.5)
    assert low < tau < high
    narrow, _, wide = noisy(200, 0.5)
    assert wide - narrow < (high - low) / 2, "ten times the rows, about a third of the width"
    low, _, high = noisy(20, 1000.0)
    assert low < 0 < high, "noise alone is no order"
    assert correlation([1.0, 2.0], [[1.0], [2.0]]) is None
    assert correlation([1.0, 1.0, 1.0], [[1.0], [2.0], [3.0]]) is None


def test_pairs_are_counted_where_the_paper_tells_them_apart() -> None:
    paper = {"a": 1.0, "b": 2.0, "c": 2.0, "d": 3.0}  # b and c are equal: five pairs
    assert pairs(paper, {"a": [5.0], "b": [6.0], "c": [7.0], "d": [6.5]}) == Pairs(5, 4, 0, 0)
    # a lies far below the others, whatever seeds are drawn; b, c and d overlap
    seeds = {"a": [1.0, 1.1], "b": [5.0, 9.0], "c": [6.0, 8.0], "d": [4.0, 12.0]}
    assert pairs(paper, seeds) == Pairs(5, 5, 5, 3)
    assert pairs(paper, seeds | {"c": [7.0]}) == Pairs(5, 5, 3, 2), "c has no spread"


def _result(perplexity: float, bleu: float) -> Result:
    return Result(perplexity, bleu, 1_000_000, 10, 60.0)


def _table(of: Callable[[Row, int], tuple[float, float]], seeds: int = 1, rows: tuple[Row, ...] = ROWS) -> Table:
    lines = [Line(row, {seed: _result(*of(row, seed)) for seed in range(1, seeds + 1)}) for row in rows]
    return Table(PROFILES["hours"], lines, "made up", "nrefs:1", "no machine")


def test_figures_in_the_paper_s_order_agree_everywhere() -> None:
    table = _table(lambda row, _: (2 * row.perplexity + 1, row.bleu / 2))
    assert headline(table).count("τ = 1.00 (95 %: 1.00 to 1.00)") == 2
    _, orders = sheets(table)
    alike = {(row[0][0], row[1]): row[4] for row in orders.rows[1:]}
    assert alike["A", "perplexity"] == "10 of 10"
    assert alike["A", "BLEU"] == "9 of 9"  # A3 and base have 25.8
    assert alike["C", "perplexity"] == "28 of 28"
    assert alike["b", "BLEU"] == "1 of 1"  # big and base
    assert all(row[2] == row[3] for row in orders.rows[1:]), "best first on both sides"
    assert orders.rows[1][2] == "A3 > base > A2 > A4 > A1"
    assert orders.rows[2][2] == "base = A3 > A2 > A4 > A1"
    assert all(row[5] == "one seed" for row in orders.rows[1:])


def test_figures_in_the_opposite_order_agree_nowhere() -> None:
    table = _table(lambda row, _: (100 - row.perplexity, 100 - row.bleu), seeds=2)
    assert headline(table).count("τ = -1.00") == 2
    assert all(row[4].startswith("0 of") for row in sheets(table)[1].rows[1:])


def test_a_table_of_few_rows_says_so() -> None:
    table = _table(lambda row, _: (row.perplexity, row.bleu), rows=ROWS[:2])
    assert headline(table).startswith("Too few rows")
    assert [row[0][0] for row in sheets(table)[1].rows[1:]] == ["A", "A"]


def test_scores_that_are_all_the_same_have_no_order() -> None:
    said = headline(_table(lambda row, _: (row.perplexity, 0.0)))
    assert "perplexity τ = 1.00" in said
    assert "BLEU the same in all rows" in said


def test_the_table_has_means_and_their_spread(tmp_path: Path) -> None:
    table = _table(lambda row, seed: (row.perplexity + (-1) ** seed, row.bleu), seeds=2, rows=ROWS[:3])
    first = sheets(table)[0].rows[1]
    assert first[2:6] == ["4.92", "4.92 ± 1.41", "25.8", "25.80 ± 0.00"]  # deviation of -1 and 1: √2
    assert first[6:] == ["65 M", "1 M", "2", "1"]
    lines = list(csv.DictReader(to_csv(table).splitlines()))
    assert [(line["row"], line["seed"]) for line in lines][:3] == [("base", "1"), ("base", "2"), ("A1", "1")]
    assert float(lines[1]["perplexity"]) == pytest.approx(5.92)
    save_report(table, tmp_path)
    assert (tmp_path / "table3.png").read_bytes().startswith(b"\x89PNG")
    assert "No run of base" in save_report(_table(lambda *_: (1.0, 1.0), rows=ROWS[1:3]), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.fixture(scope="module")
def data(corpus: Mapping[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `heedful fetch` writes one."""
    directory = tmp_path_factory.mktemp("data")
    for part, name in (("train", "train"), ("valid", "val")):
        for path, language in zip(corpus[part], ("en", "de"), strict=True):
            shutil.copy(path, directory / f"{name}.{language}")
    return directory


def test_data_are_cut_evenly(data: Path, tmp_path: Path) -> None:
    cut = Profile("cut", pairs=30, valid_pairs=7)
    train, valid = corpora(data, ("en", "de"), cut, tmp_path)
    whole = list(Corpus.of((data / "train.en", data / "train.de")).pairs())
    assert list(train.pairs()) == whole[::3]
    assert (train.source_lang, train.target_lang) == ("en", "de")
    assert valid.paths == (data / "val.en", data / "val.de")
    with pytest.raises(HeedfulError, match=r"train\.fr is not there; --data"):
        corpora(data, ("en", "fr"), cut, tmp_path)


def _command(data: Path, output: Path, *more: str) -> int:
    arguments = ["--profile", "seconds", "--data", str(data), "--output", str(output), "--threads", "1"]
    return main(["reproduce", "table3", *arguments, "--device", "cpu", *more])


def test_the_command_goes_on_and_compares(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output, rows = tmp_path / "made" / "table3", ["--rows", "A4,B1,E", "--seeds", "2"]
    with monkeypatch.context() as patch:
        advance = Trainer._advance
        updates = itertools.count(1)

        def advanced(trainer: Trainer, batches: int) -> None:
            advance(trainer, batches)
            if next(updates) == 6:  # in the second run
                signal.raise_signal(signal.SIGTERM)

        patch.setattr(Trainer, "_advance", advanced)
        assert _command(data, output, *rows) == 128 + signal.SIGTERM
    said = capsys.readouterr()
    assert "the same command goes on from here" in said.err
    assert "Too few rows" in said.out
    assert _command(data, output, *rows) == 0
    said = capsys.readouterr()
    assert "run 1 of 7: A4, seed 1" in said.err
    with (output / "table3.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["row"], line["seed"]) for line in lines] == [(r, s) for r in ("base", "A4", "B1", "E") for s in "12"]
    assert {line["steps"] for line in lines} == {"4"}
    counts = {line["row"]: int(line["parameters"]) for line in lines}
    assert counts["A4"] == counts["base"]
    # keys and queries in nine attentions of 8 heads have 1 component instead of 4, each of d_model 32 and a bias
    assert counts["base"] - counts["B1"] == 9 * 2 * 8 * 3 * (32 + 1)
    assert counts["E"] - counts["base"] == 2 * 256 * 32
    monkeypatch.setattr(queue, "train", None)  # whoever called it now would fail
    assert _command(data, output, *rows) == 0
    text = capsys.readouterr().out
    assert "Kendall's τ_b" in text
    assert "seeds of a row: 2." in text
    assert (output / "table3.md").read_text().count("\n| ") == 2 * 2 + 4 + 3 * 2
    # the table is of all that is there, whatever part the last command asked for
    assert _command(data, output, "--rows", "B1") == 0
    assert capsys.readouterr().out == text


def test_the_list_says_what_would_run_and_trains_nothing(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heedful.reproduce.table3.experiment._SECONDS", 0.2)
    assert _command(data, tmp_path / "out", "--rows", "C2,big", "--list") == 0
    header, *rows, total = (line.split() for line in capsys.readouterr().out.rstrip().split("\n"))
    assert header[:4] == ["row", "seed", "parameters", "steps"]
    assert [row[0] for row in rows] == [BASE, "C2", BIG]
    assert [row[4] for row in rows] == ["4", "4", "12"]
    minutes = [float(row[5]) for row in rows]
    assert minutes[1] <= minutes[0] <= minutes[2]
    assert float(total[0]) == pytest.approx(sum(minutes), abs=0.2)
    assert not list((tmp_path / "out").rglob("config.json"))


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--rows", "A1,Z"], "'Z' is no row of Table 3"),
        (["--seeds", "0"], "--seeds 0"),
        (["--data", "nowhere"], "nowhere/train.en is not there"),
        (["--source-lang", "ko"], "train.ko is not there"),
        (["--profile", "days"], "hours"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str], part: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _command(data, tmp_path / "out", *arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("heedful: error: ")
    assert errors.count("\n") == 1
    assert part in errors
    assert not (tmp_path / "out").exists()
