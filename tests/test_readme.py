"""What the documentation says is true: its commands run, its links lead somewhere, its names are the code's."""

import doctest
import functools
import importlib
import io
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import heedful
from heedful.cli.main import build_parser, main
from heedful.data.fetch import dataset
from tests.treebank import write_treebank

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.ko.md"]
DOCUMENTS = [*READMES, *sorted((ROOT / "docs").glob("*.md"))]
COURSE, ARCHITECTURE = ROOT / "docs" / "course.md", ROOT / "docs" / "architecture.md"

EN = ["A dog runs.", "Two men sleep.", "A woman reads a book.", "The children play.", "A red car stands here."]
DE = ["Ein Hund rennt.", "Zwei Männer schlafen.", "Eine Frau liest ein Buch.", "Die Kinder spielen.", "Ein rotes Auto."]
# decay_steps: limits are counted in steps here, not in minutes, and a run that goes on must not be at its cosine's end
SMALL = {"d_model": 16, "layers": 1, "vocab_size": 300, "validate_every": 1, "threads": 1, "decay_steps": 100}
OTHER_OPTIONS = {"--nproc-per-node", "--index-url"}
"""Of torchrun and pip."""


def _blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def _lines(document: Path) -> list[str]:
    return "".join(_blocks(document, "bash")).splitlines()


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that the README names."""
    directory = tmp_path_factory.mktemp("readme")
    for name, copies in (("train", 8), ("val", 1), ("test", 1), ("news", 4)):
        for language, texts in (("en", EN), ("de", DE)):
            lines = [f"{text} {number}" for number in range(copies) for text in texts]
            (directory / f"{name}.{language}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for seed, (name, size) in enumerate((("train", 40), ("val", 3), ("test", 3))):
        write_treebank(directory / f"{name}.mrg", seed, size)
    return directory


@pytest.fixture(autouse=True)
def _there(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)


class Shell:
    """Carries out the documentation's lines, trainings shortened and each allowed a step more than the one before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch, self._steps = monkeypatch, 2

    def run(self, line: str) -> None:
        """One line; `assert`s that it succeeds."""
        words = shlex.split(line, comments=True)
        if "|" in words:
            said = " ".join(words[1 : words.index("|")])
            stdin = io.TextIOWrapper(io.BytesIO(f"{said}\n".encode()))
            self._monkeypatch.setattr(sys, "stdin", stdin)
            words = words[words.index("|") + 1 :]
        if "train" in words:
            self._steps += 1
            words += [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
            words += [f"--max-steps={self._steps}"]
        if "plan" in words:
            words += [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items()]
            words += ["--heads=2", "--seconds=0.5"]
        match words[0]:
            case "heedful" if words[1] == "fetch" and len(words) > 2:  # needs a network: is only what can be fetched
                assert dataset(build_parser()[0].parse_args(words[1:]).name).splits
            case "heedful":
                assert main(words[1:]) == 0, line
            case "torchrun":
                words[0] = str(Path(sys.executable).with_name("torchrun"))
                done = subprocess.run(words, capture_output=True, text=True, timeout=300)
                assert done.returncode == 0, f"{line}\n{done.stderr}"
            case "make":
                self._make(words[1])
            case _:
                assert line == "source .venv/bin/activate"

    def _make(self, target: str) -> None:
        """`make test` is what runs here; of `make demo` the command, on little data."""
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        recipe = re.search(rf"^{target}: setup\n\t\$\(BIN\)/(.*)", makefile, re.MULTILINE)
        assert recipe is not None, f"make {target}"
        if target == "demo":
            from heedful.recipes import demo

            for name, size in (("TRAIN", 100), ("VALID", 6), ("TEST", 240)):
                self._monkeypatch.setattr(demo, name, size)
            command = shlex.split(recipe[1].replace("$(MINUTES)", "0.01"))
            assert main(command[1:]) == 0


def test_the_commands_of_the_readme_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(monkeypatch)
    for line in _lines(READMES[0]):
        shell.run(line)
    translated = (workplace / "test.translated.de").read_text(encoding="utf-8")
    assert translated.count("\n") == len(EN)
    # the second `train` into this directory went on: it was allowed two steps more than the first
    steps = [made.step for made in heedful.checkpoint.all_checkpoints(workplace / "runs" / "en-de")]
    assert max(steps) > 3
    shortened = functools.partial(heedful.train, max_steps=3, **SMALL)
    monkeypatch.setattr(heedful, "train", shortened)
    [script] = _blocks(READMES[0], "python")
    exec(compile(script, "README.md", "exec"), {})


def test_the_commands_of_the_course_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = Shell(monkeypatch)
    if not (workplace / "demo").exists():
        shell.run("make demo")
    for line in _lines(COURSE):
        shell.run(line)
    assert "<html" in (workplace / "rnn.html").read_text(encoding="utf-8")


def test_the_python_lines_of_the_course_print_what_it_says() -> None:
    examples = doctest.DocTestParser().get_doctest("".join(_blocks(COURSE, "python")), {}, "course.md", None, None)
    said: list[str] = []
    result = doctest.DocTestRunner(verbose=False).run(examples, out=said.append)
    assert result.attempted > 40
    assert result.failed == 0, "".join(said)


def test_both_readmes_have_the_same_commands() -> None:
    english, korean = READMES
    assert _lines(english) == _lines(korean)
    scripts = [[line.split("  #")[0] for line in _blocks(readme, "python")[0].splitlines()] for readme in READMES]
    assert scripts[0] == scripts[1]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_linked_names_are_the_code_s(document: Path) -> None:
    """[`Name`](file): a module by its full name, or what the file defines."""
    unknown = []
    for name, target in re.findall(r"\[`([\w.]+)`\]\(([^)]+)\)", document.read_text(encoding="utf-8")):
        path = (document.parent / target).resolve()
        if name.startswith("heedful."):
            file = Path(importlib.import_module(name).__file__ or "")
            known = path in (file, file.parent)
        else:
            code = path.read_text(encoding="utf-8")
            known = all(re.search(rf"(class|def) {part}\b|\b{part}(: [^=\n]+)? =", code) for part in name.split("."))
        if not known:
            unknown.append(f"{name} in {target}")
    assert unknown == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_options_exist(document: Path) -> None:
    known = {option for command in build_parser()[1].values() for option in command.options()} | OTHER_OPTIONS
    mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", document.read_text(encoding="utf-8")))
    assert mentioned - known == set()


def test_the_map_is_the_tree() -> None:
    """Every module stands in architecture.md's map, and nothing else."""
    text = ARCHITECTURE.read_text(encoding="utf-8")
    [tree] = re.findall(r"^```\nsrc/heedful/\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    folders: list[str] = []
    drawn = set()
    for indent, names in re.findall(r"^( +)((?:\S+ ? ?)+)", tree, re.MULTILINE):
        folders = folders[: len(indent) // 2 - 1]
        for name in names.split():
            if name.endswith("/"):
                folders.append(name)
            elif name.endswith(".py"):
                drawn.add("".join(folders) + name)
    package = ROOT / "src" / "heedful"
    found = {str(path.relative_to(package)) for path in package.rglob("*.py") if path.name != "__init__.py"}
    assert drawn == found


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.split(r"[\[>=<]", requirement)[0] for group in groups for requirement in group} - {"heedful"}
    text = ARCHITECTURE.read_text(encoding="utf-8")
    assert {name for name in names if not re.search(rf"\b{name}\b", text)} == set()
