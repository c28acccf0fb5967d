"""What is wrong with parallel text, before a model learns it. Reads everything, raises nothing, changes nothing."""

import io
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from heedful.data.config import DataConfig
from heedful.data.corpus import BYTE_ORDER_MARK, Corpus, raw_lines
from heedful.data.tokenizer import PIECE_CHARACTERS
from heedful.errors import HeedfulError
from heedful.progress import progress

_NAMED_LINES = 20
_NAMED_OFFSETS = 1000
_SHOWN_LINES = 5
_WIDTH = 100
_RATIO = 3.0
_CONTROL = re.compile("[\x01-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f]")
_SEPARATOR = re.compile("[\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass
class Finding:
    """How many lines have something, and the first of them, counted from 1."""

    count: int = 0
    lines: list[int] = field(default_factory=list)

    def add(self, line: int) -> None:
        """One more line."""
        self.count += 1
        if len(self.lines) < _NAMED_LINES:
            self.lines.append(line)


@dataclass
class FileReport:
    """The bytes of one file."""

    path: str
    lines: int = 0
    unreadable: str | None = None
    """Why reading stopped."""
    byte_order_mark: bool = False
    crlf: Finding = field(default_factory=Finding)
    nul: Finding = field(default_factory=Finding)
    malformed: Finding = field(default_factory=Finding)
    """Lines of TSV or JSON that are no pair."""
    malformed_reason: str | None = None
    """What is wrong with the first of them."""
    invalid_utf8: Finding = field(default_factory=Finding)
    invalid_utf8_offsets: list[int] = field(default_factory=list)
    """Byte offset in the file of the first bad byte of each such line; at most a thousand."""


@dataclass
class SideReport:
    """The texts of one side."""

    language: str
    blank: Finding = field(default_factory=Finding)
    overlong: Finding = field(default_factory=Finding)
    """Surely more than `max_length` tokens, whatever the vocabulary."""
    control: Finding = field(default_factory=Finding)
    """Control characters, tab aside."""
    separators: Finding = field(default_factory=Finding)
    """Characters that other programs take for a line end: lone CR, VT, FF, U+0085, U+2028 …"""
    replaced: Finding = field(default_factory=Finding)
    """U+FFFD, the trace of an earlier wrong conversion."""
    characters: dict[str, float] = field(default_factory=dict)
    """Percentiles of the characters of lines that are not blank."""


@dataclass
class SetReport:
    """The pairs of one corpus."""

    name: str
    format: str
    files: list[FileReport]
    source: SideReport
    target: SideReport
    pairs: int = 0
    usable: int = 0
    """Pairs without a blank side or an overlong one."""
    duplicate_pairs: Finding = field(default_factory=Finding)
    """Pairs that occurred before."""
    duplicate_sources: Finding = field(default_factory=Finding)
    """Sources that occurred before, with whatever target."""
    identical: Finding = field(default_factory=Finding)
    """Source and target are the same text."""
    ratio: dict[str, float] = field(default_factory=dict)
    """Percentiles of target characters / source characters."""
    ratio_outliers: Finding = field(default_factory=Finding)
    """Pairs whose ratio is more than three times, or less than a third of, the median."""
    ratio_examples: list[tuple[int, float]] = field(default_factory=list)
    """Line and ratio of the five most extreme."""
    problems: list[str] = field(default_factory=list)
    """Why this cannot be used, a line each."""


@dataclass
class Overlap:
    """What of a held-out corpus the training corpus holds; lines are those of the held-out one."""

    name: str
    pairs: Finding
    sources: Finding


@dataclass
class Report:
    """What `check_data` found."""

    max_length: int
    sets: list[SetReport]
    overlaps: list[Overlap]
    refuses: list[str]
    """Why `heedful train` would refuse, a line each; empty if it would not."""


def check_data(
    train: Corpus, valid: Corpus | None = None, test: Corpus | None = None, max_length: int = DataConfig.max_length
) -> Report:
    """Reads the corpora to their ends, whatever is in them. Memory holds 32 bytes a pair, and no texts."""
    named = {"train": train, "valid": valid, "test": test}
    sets, kept = [], {}
    for name, corpus in named.items():
        if corpus:
            report, kept[name] = _read_set(name, corpus, max_length)
            sets.append(report)
    overlaps = [
        Overlap(
            name,
            _where(held_out.numbers, np.isin(held_out.pairs, kept["train"].pairs)),
            _where(held_out.numbers, np.isin(held_out.sources, kept["train"].sources)),
        )
        for name, held_out in kept.items()
        if name != "train"
    ]
    refuses = [problem for report in sets if report.name != "test" for problem in report.problems]
    return Report(max_length, sets, overlaps, refuses)


class _Kept:
    """Of every pair with text on both sides: its line, hashes of source and pair, and the texts' characters."""

    def __init__(self) -> None:
        self.numbers, self.sources, self.pairs = array("q"), array("q"), array("q")
        self.source_characters, self.target_characters = array("i"), array("i")

    def add(self, number: int, source: str, target: str) -> None:
        self.numbers.append(number)
        self.sources.append(hash(source))
        self.pairs.append(hash(f"{source}\n{target}"))
        self.source_characters.append(len(source))
        self.target_characters.append(len(target))


def _read_set(name: str, corpus: Corpus, max_length: int) -> tuple[SetReport, _Kept]:
    report = SetReport(
        name,
        corpus.format,
        [FileReport(str(path)) for path in corpus.paths],
        SideReport(corpus.source_lang),
        SideReport(corpus.target_lang),
    )
    kept = _Kept()
    with progress(f"checking {name}") as meter:
        for number, pair in enumerate(_read_pairs(corpus, report.files), start=1):
            if number % 10_000 == 0:
                meter.update(number, f"{number} lines")
            if pair is None:
                continue
            report.pairs += 1
            overlong = [
                _read_text(side, number, text, max_length)
                for side, text in zip((report.source, report.target), pair, strict=True)
            ]
            source, target = pair
            if source.strip() and target.strip():
                kept.add(number, source, target)
                report.usable += not any(overlong)
                if source == target:
                    report.identical.add(number)
    _summarise(report, kept)
    report.problems += _problems(report, len(kept.numbers))
    return report, kept


def _read_pairs(corpus: Corpus, files: Sequence[FileReport]) -> Iterator[tuple[str, str] | None]:
    """Every line's pair; None where there is none."""
    texts = [_read_lines(path, file) for path, file in zip(corpus.paths, files, strict=True)]
    if corpus.format == "files":
        for source, target in zip_longest(*texts):
            yield None if source is None or target is None else (source, target)
        return
    parse = corpus.parser()
    for line in texts[0]:
        try:
            yield parse(line)
        except ValueError as error:
            files[0].malformed.add(files[0].lines)
            files[0].malformed_reason = files[0].malformed_reason or str(error)
            yield None


def _read_lines(path: Path, report: FileReport) -> Iterator[str]:
    """As `corpus.read_lines`, but what that would raise goes into the report."""
    offset = 0
    try:
        for raw in raw_lines(path):
            start = 0
            if report.lines == 0 and raw.startswith(BYTE_ORDER_MARK):
                report.byte_order_mark = True
                start = len(BYTE_ORDER_MARK)
                if raw == BYTE_ORDER_MARK:
                    return
            report.lines += 1
            body = raw.removesuffix(b"\n")[start:]
            if len(body) < len(raw) - start and body.endswith(b"\r"):
                report.crlf.add(report.lines)
                body = body[:-1]
            if b"\0" in body:
                report.nul.add(report.lines)
            try:
                text = body.decode("utf-8")
            except UnicodeDecodeError as error:
                report.invalid_utf8.add(report.lines)
                if len(report.invalid_utf8_offsets) < _NAMED_OFFSETS:
                    report.invalid_utf8_offsets.append(offset + start + error.start)
                text = body.decode("utf-8", "backslashreplace")
            yield text
            offset += len(raw)
    except HeedfulError as error:
        report.unreadable = str(error)


def _read_text(report: SideReport, number: int, text: str, max_length: int) -> bool:
    """Whether the text is overlong, and everything else into the report."""
    if not text.strip():
        report.blank.add(number)
    if not text.isprintable():
        if _CONTROL.search(text):
            report.control.add(number)
        if _SEPARATOR.search(text):
            report.separators.add(number)
    if "\ufffd" in text:
        report.replaced.add(number)
    # at least so many tokens: no piece spans a space, none is longer than its limit; and EOS
    least = max(len(text) / PIECE_CHARACTERS, sum(map(bool, text.split(" "))))
    if least + 1 > max_length:
        report.overlong.add(number)
        return True
    return False


def _summarise(report: SetReport, kept: _Kept) -> None:
    if not kept.numbers:
        return
    report.duplicate_pairs = _where(kept.numbers, _repeated(kept.pairs))
    report.duplicate_sources = _where(kept.numbers, _repeated(kept.sources))
    source, target = np.array(kept.source_characters), np.array(kept.target_characters)
    report.source.characters, report.target.characters = _percentiles(source), _percentiles(target)
    ratio = target / source
    report.ratio = _percentiles(ratio)
    distance = np.abs(np.log(ratio / np.median(ratio)))
    outlier = distance > np.log(_RATIO)
    report.ratio_outliers = _where(kept.numbers, outlier)
    extreme = np.argsort(-distance, kind="stable")[: min(5, report.ratio_outliers.count)]
    report.ratio_examples = [(kept.numbers[place], round(float(ratio[place]), 3)) for place in extreme]


def _problems(report: SetReport, with_text: int) -> list[str]:
    problems = []
    for file in report.files:
        if file.unreadable:
            problems.append(file.unreadable)
        elif not file.lines:
            problems.append(f"{file.path} is empty")
        if (bad := file.invalid_utf8).count:
            where = f"the first is line {bad.lines[0]}, byte offset {file.invalid_utf8_offsets[0]}"
            problems.append(f"{file.path}: invalid UTF-8 in {_lines(bad.count)}; {where}")
        if file.nul.count:
            problems.append(f"{file.path}: NUL in {_lines(file.nul.count)}; the first is line {file.nul.lines[0]}")
        if (bad := file.malformed).count:
            where = f"the first is line {bad.lines[0]}: {file.malformed_reason}"
            problems.append(f"{file.path}: no pair in {_lines(bad.count)}; {where}")
    if len({file.lines for file in report.files}) > 1 and not any(file.unreadable for file in report.files):
        problems.append(" but ".join(f"{file.path} has {_lines(file.lines)}" for file in report.files))
    if not problems and not (report.usable if report.name == "train" else with_text):
        problems.append(f"{report.files[0].path} has no pair that can be used: every one is blank or overlong")
    return problems


def _lines(count: int) -> str:
    return "1 line" if count == 1 else f"{count} lines"


def _repeated(values: "array[int]") -> NDArray[np.bool_]:
    """True where a value occurred before."""
    repeated = np.ones(len(values), np.bool_)
    repeated[np.unique(values, return_index=True)[1]] = False
    return repeated


def _where(numbers: "array[int]", chosen: NDArray[np.bool_]) -> Finding:
    places = np.flatnonzero(chosen)
    return Finding(len(places), [numbers[place] for place in places[:_NAMED_LINES]])


def _percentiles(values: NDArray[np.number[Any]]) -> dict[str, float]:
    shares = (1, 50, 99, 100)
    found = np.percentile(values, shares, method="nearest")
    return {f"p{share}": round(float(value), 3) for share, value in zip(shares, found, strict=True)}


def render(report: Report) -> str:
    """The report for people, as plain text."""
    text = io.StringIO()
    console = Console(file=text, width=_WIDTH, highlight=False, markup=False, soft_wrap=True)
    for found in report.sets:
        files = " and ".join(f"{file.path} ({file.lines:,} lines)" for file in found.files)
        console.print(f"{found.name}: {found.usable:,} usable pairs of {found.pairs:,} in {files}")
        console.print(_table(found), soft_wrap=False)
        for problem in found.problems:
            if problem not in report.refuses:
                console.print(f"  ! {problem}")
        console.print()
    for overlap in report.overlaps:
        for what, finding in (("pairs", overlap.pairs), ("sources", overlap.sources)):
            lines = f" (lines {_first(finding)})" if finding.count else ""
            console.print(f"{what} of {overlap.name} that are in train too: {finding.count:,}{lines}")
    console.print("\ntrain would refuse this:" if report.refuses else "\ntrain would take this.")
    for reason in report.refuses:
        console.print(f"- {reason}")
    return text.getvalue()


def _table(report: SetReport) -> Table:
    languages = report.source.language, report.target.language
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("lines with")
    for name in (*languages, "pair"):
        table.add_column(name, justify="right")
    table.add_column("which", overflow="fold")
    for label, columns in _rows(report):
        findings = list(zip((*languages, "pair"), columns, strict=True))
        counts = ["" if finding is None else f"{finding.count:,}" if finding.count else "–" for _, finding in findings]
        which = (f"{name} {_first(finding)}" for name, finding in findings if finding and finding.count)
        table.add_row(label, *counts, "; ".join(which))
    table.add_section()
    measures = (report.source.characters, report.target.characters, report.ratio)
    table.add_row("characters", "", "", "ratio")
    for key, label in (("p1", "1 % have fewer"), ("p50", "median"), ("p99", "1 % have more"), ("p100", "most")):
        table.add_row(label, *(f"{measure[key]:g}" if measure else "" for measure in measures))
    return table


def _rows(report: SetReport) -> Iterator[tuple[str, tuple[Finding | None, Finding | None, Finding | None]]]:
    """Each check's findings in the source, in the target and in the pair."""
    for label, name in (("invalid UTF-8", "invalid_utf8"), ("NUL", "nul"), ("CRLF", "crlf")):
        in_files = [getattr(file, name) for file in report.files]
        yield label, (in_files[0], in_files[1], None) if len(in_files) == 2 else (None, None, in_files[0])
    if report.format != "files":
        yield "no pair", (None, None, report.files[0].malformed)
    for label, name in (
        ("no text", "blank"),
        ("too many tokens", "overlong"),
        ("control characters", "control"),
        ("foreign line ends", "separators"),
        ("U+FFFD", "replaced"),
    ):
        yield label, (getattr(report.source, name), getattr(report.target, name), None)
    yield "duplicates", (report.duplicate_sources, None, report.duplicate_pairs)
    yield "source = target", (None, None, report.identical)
    yield "unusual length ratio", (None, None, report.ratio_outliers)


def _first(finding: Finding) -> str:
    shown = finding.lines[:_SHOWN_LINES]
    return ", ".join(map(str, shown)) + (" …" if finding.count > len(shown) else "")
