"""The command line: help at once, one line for every error, the contract's commands."""

import subprocess
import sys
from pathlib import Path

import pytest

from heedful.cli.main import build_parser, main

_COMMAND = [sys.executable, "-m", "heedful"]


def _heedful(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run([*_COMMAND, *arguments], input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_help_and_wrong_flags_do_not_import_torch() -> None:
    code = (
        "import sys\nfrom heedful.cli.main import main\n"
        "try: main(['train', '--help'])\nexcept SystemExit: pass\n"
        "main(['train', '--train', 'a', '--valid', 'b', '--output', 'c', '--d-model', 'x'])\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_command_of_the_contract_is_there() -> None:
    _, known = build_parser()
    assert set(known) == {
        "demo", "dates", "train", "translate", "score", "evaluate", "compare",
        "inspect", "average", "check-data", "info", "recipes", "fetch", "plan", "reproduce", "score-trees", "parse",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "--d-modle", "3"], "the nearest is --d-model"),
        (["train", "--recipe", "tyni", "--train", "a.en", "a.de", "--valid", "b.en", "b.de", "--output", "x"], "tiny"),
        (["train", "--train", "a.en", "a.de", "--output", "x"], "--valid"),
        (["train", "--train", "no.en", "no.de", "--valid", "no.en", "no.de", "--output", "x"], "no.en"),
        (["translate", "nowhere"], "nowhere is not a model directory"),
        (["evaluate", "nowhere", "--test", "no.en", "no.de"], "nowhere"),
        (["info", "nowhere"], "nowhere"),
        (["recipes", "bse"], "the nearest is base"),
        (["dates", "--size", "3", "--to", "tlh", "--output", "x"], "tlh"),
        (["demo", "--minutes", "nan"], "--minutes nan"),
        (["frobnicate"], "frobnicate"),
    ],
)
def test_an_error_is_one_line_with_exit_code_two(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("heedful: error: ")
    assert errors.count("\n") == 1
    assert part in errors
    assert not list(tmp_path.iterdir())


def test_recipes_print_yaml_that_train_reads(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from heedful.recipes.config import read_yaml
    from heedful.recipes.named import recipe

    for name in ("tiny", "rnn-attention", "base"):
        assert main(["recipes", name]) == 0
        path = tmp_path / "recipe.yaml"
        path.write_text(capsys.readouterr().out)
        values = read_yaml(path)
        assert values.pop("recipe") == name
        assert recipe(name).override(values).sections() == recipe(name).sections()


def test_dates_are_written_where_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--size", "11", "--seed", "3", "--from", "ko,de", "--to", "iso", "--kinds", "single,list"]
    assert main(["dates", *flags, "--output", str(tmp_path / "d")]) == 0
    for side in ("source", "target"):
        assert (tmp_path / f"d.{side}").read_text().count("\n") == 11
    assert "11 lines" in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "x.sh").write_text(f"{sys.executable} -m heedful recipes big | true")
    done = subprocess.run(["bash", str(tmp_path / "x.sh")], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_output_that_finds_no_room_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*_COMMAND, "recipes"], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "heedful: error: input or output: No space left on device\n")


@pytest.mark.parametrize(
    ("closed", "code"), [("recipes <&- >&- 2>&-", 0), ("recipes no 2>&-", 2), ("recipes no 2>/dev/full", 2)]
)
def test_closed_streams_are_no_crash(closed: str, code: int) -> None:
    done = subprocess.run(["bash", "-c", f"{' '.join(_COMMAND)} {closed}"], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, b"", b"")


def test_train_help_describes_every_field() -> None:
    done = _heedful("train", "--help")
    assert done.returncode == 0
    for flag in ("--d-model", "--label-smoothing", "--precision", "--batch-tokens", "--max-minutes", "--attention"):
        assert flag in done.stdout
