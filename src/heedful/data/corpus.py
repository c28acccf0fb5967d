"""Parallel text in every format users have: read line by line, checked, never changed. Knows no tokens.

A line ends at "\\n" and nowhere else: neither a lone CR nor U+2028 splits one, so both files of a corpus
keep step whatever their lines hold.
"""

import functools
import gzip
import hashlib
import itertools
import json
import logging
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from heedful.errors import HeedfulError

logger = logging.getLogger("heedful")

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
Format = Literal["files", "tsv", "jsonl"]

_SUFFIXES: dict[str, Format] = {
    ".tsv": "tsv",
    ".tab": "tsv",
    ".txt": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}


def raw_lines(path: Path | str) -> Iterator[bytes]:
    """The lines of a file, of a .gz file or of stdin ("-") as bytes, with their line ends.

    Memory holds one line. Raises `HeedfulError` for a file that is missing, unreadable or damaged.
    """
    try:
        with _open(path) as file:
            yield from file
    except FileNotFoundError:
        raise HeedfulError(f"{path} does not exist; check the path") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise HeedfulError(f"{path} is a damaged or truncated gzip file ({error}); make it again") from None
    except OSError as error:
        raise HeedfulError(f"cannot read {path}: {error.strerror or error}") from None


def read_lines(path: Path | str, *, allow_empty: bool = False) -> Iterator[str]:
    """The lines of UTF-8 text without their line ends: a file, a .gz file, or stdin as "-".

    A byte order mark and the CR of a CRLF are dropped, and reported once per file. Raises `HeedfulError`
    for invalid UTF-8, for a NUL, for a file that cannot be read, and for an empty one unless `allow_empty`.
    """
    name = "stdin" if str(path) == "-" else str(path)
    offset, number = 0, 0
    for number, raw in enumerate(raw_lines(path), start=1):
        body = raw.removesuffix(b"\n")
        start = 0
        if number == 1 and body.startswith(BYTE_ORDER_MARK):
            start = len(BYTE_ORDER_MARK)
            _report_once(f"{name} starts with a byte order mark; it is dropped")
            if raw == BYTE_ORDER_MARK:  # a file of nothing else has no line
                number = 0
                break
        if len(body) < len(raw) and body.endswith(b"\r"):
            body = body[:-1]
            _report_once(f"{name} has CRLF line ends; their CR is dropped")
        yield _decode(body[start:], name, number, offset + start)
        offset += len(raw)
    if number == 0 and not allow_empty:
        raise HeedfulError(f"{name} is empty; at least one line of text is needed")


@dataclass(frozen=True)
class Corpus:
    """Sentence pairs of one language pair: two line-aligned files, or one file of TSV or JSON lines."""

    paths: tuple[Path, ...]
    source_lang: str
    target_lang: str

    @classmethod
    def of(
        cls,
        paths: Sequence[Path | str] | Path | str,
        source_lang: str | None = None,
        target_lang: str | None = None,
    ) -> Self:
        """A corpus from one path or two; the format shows in the suffix, .gz aside.

        A language that is not given is the file's suffix (train.en.gz → en), in `{"translation": …}`
        records the key, and otherwise "source" or "target". Raises `HeedfulError`.
        """
        files = tuple(Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths))
        if not 1 <= len(files) <= 2:
            raise HeedfulError(f"a corpus is one file or two, not {len(files)}; name the source file, then the target")
        if format_of(files) == "jsonl":
            found = _translation_keys(files[0], source_lang, target_lang)
        elif len(files) == 2:
            found = _suffix_languages(files)
            if found[0] != found[1] and found == (target_lang, source_lang):
                raise HeedfulError(
                    f"{files[0]} and {files[1]} are named in the order {found[0]}, {found[1]}, but the source "
                    f"language is {source_lang}; name the source file first"
                )
        else:
            found = ("source", "target")
        return cls(files, source_lang or found[0], target_lang or found[1])

    @property
    def format(self) -> Format:
        """What the paths say it is."""
        return format_of(self.paths)

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Every pair in order, those with an empty side too; in memory is one at a time.

        Raises `HeedfulError` where a file cannot be read as such, or the two files' line counts differ.
        """
        return _aligned(*self.paths) if self.format == "files" else self._records()

    def chosen(self, chosen: NDArray[np.bool_], substitution: float = 0.0, seed: int = 0) -> Iterator[tuple[str, str]]:
        """Some of the pairs; text has nothing that could be substituted."""
        return itertools.compress(self.pairs(), chosen)

    def count(self) -> int:
        """Number of lines of the first file, counted without decoding them."""
        return sum(1 for _ in raw_lines(self.paths[0]))

    def digest(self) -> str:
        """SHA-256 of the files' contents, and of what says how they are read."""
        keys = (self.source_lang, self.target_lang) if self.format == "jsonl" else ()
        return self.digest_with("\n".join((self.format, *keys)))

    def digest_with(self, how: str) -> str:
        """SHA-256 of the files' contents and of these words, which say how they are read."""
        total = hashlib.sha256(how.encode())
        for path in self.paths:
            try:
                with path.open("rb") as file:
                    total.update(hashlib.file_digest(file, "sha256").digest())
            except OSError as error:
                raise HeedfulError(f"cannot read {path}: {error.strerror}; check the path") from None
        return total.hexdigest()

    def parser(self) -> Callable[[str], tuple[str, str]]:
        """What makes a pair of one line of a single-file corpus; it raises `ValueError` for a bad line."""
        if self.format == "tsv":
            return parse_tsv
        return functools.partial(parse_json, source_lang=self.source_lang, target_lang=self.target_lang)

    def _records(self) -> Iterator[tuple[str, str]]:
        parse, path = self.parser(), self.paths[0]
        for number, line in enumerate(read_lines(path), start=1):
            try:
                source, target = parse(line)
            except ValueError as error:
                raise HeedfulError(f"{path}, line {number}: {error}") from None
            if "\n" in source or "\n" in target:
                source, target = source.replace("\n", " "), target.replace("\n", " ")
                _report_once(f"{path} has line ends inside its texts; they become spaces")
            yield source, target


def format_of(paths: Sequence[Path]) -> Format:
    """Two files are line-aligned text; one is what its suffix says. Raises `HeedfulError` if it says nothing."""
    if len(paths) == 2:
        return "files"
    suffix = Path(paths[0].name.removesuffix(".gz")).suffix
    if suffix not in _SUFFIXES:
        raise HeedfulError(
            f"{paths[0]} alone is no parallel corpus that heedful knows; give two line-aligned files, "
            f"or one with tabs or JSON lines ({', '.join(_SUFFIXES)}, each also .gz)"
        )
    return _SUFFIXES[suffix]


def parse_tsv(line: str) -> tuple[str, str]:
    """Source, tab, target; a blank line is an empty pair. Raises `ValueError` with the reason."""
    columns = line.split("\t")
    if len(columns) == 1 and not line.strip():
        return "", ""
    if len(columns) != 2:
        raise ValueError(f"{len(columns)} columns, not 2; a line is the source, one tab and the target")
    return columns[0], columns[1]


def parse_json(line: str, source_lang: str, target_lang: str) -> tuple[str, str]:
    """A record of either form; a blank line is an empty pair. Raises `ValueError` with the reason."""
    if not line.strip():
        return "", ""
    record = _json_object(line)
    names = (source_lang, target_lang) if "translation" in record else ("source", "target")
    texts = record.get("translation", record)
    source, target = (texts.get(name) for name in names) if isinstance(texts, dict) else (None, None)
    if not (isinstance(source, str) and isinstance(target, str)):
        raise ValueError(
            f'no texts "{names[0]}" and "{names[1]}"; '
            'a line is {"source": …, "target": …} or {"translation": {"en": …, "de": …}}'
        )
    if "\0" in source + target:
        raise ValueError("NUL character (\\u0000); remove it")
    if not (source + target).isascii():
        try:
            (source + target).encode()
        except UnicodeEncodeError:
            raise ValueError("half a surrogate pair, which is no character; repair the line") from None
    return source, target


def _json_object(line: str) -> dict[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON ({error}); every line is one record") from None
    if not isinstance(record, dict):
        raise ValueError('not a JSON object; every line is one record such as {"source": …, "target": …}')
    return record


def _translation_keys(path: Path, source_lang: str | None, target_lang: str | None) -> tuple[str, str]:
    """The languages of JSON lines: the keys of the first record, in its order."""
    lines = enumerate(read_lines(path), start=1)
    number, first = next(((number, line) for number, line in lines if line.strip()), (1, "{}"))
    try:
        texts = _json_object(first).get("translation")
    except ValueError as error:
        raise HeedfulError(f"{path}, line {number}: {error}") from None
    keys = list(texts) if isinstance(texts, dict) else []
    if not keys or (source_lang and target_lang):
        return "source", "target"
    source = source_lang or next((key for key in keys if key != target_lang), "")
    others = [key for key in keys if key != source]
    if len(keys) > 2 or not others:
        raise HeedfulError(f"{path} has the languages {', '.join(keys)}; choose with --source-lang and --target-lang")
    return source, others[0]


def _suffix_languages(paths: Sequence[Path]) -> tuple[str, str]:
    source, target = (Path(path.name.removesuffix(".gz").removesuffix(".txt")).suffix[1:] for path in paths)
    return (source, target) if source and target and source != target else ("source", "target")


def _aligned(source: Path, target: Path) -> Iterator[tuple[str, str]]:
    missing = object()
    lines = itertools.zip_longest(read_lines(source), read_lines(target), fillvalue=missing)
    for number, (first, second) in enumerate(lines):
        if not (isinstance(first, str) and isinstance(second, str)):
            longer = number + 1 + sum(1 for _ in lines)
            counts = (longer, number) if second is missing else (number, longer)
            raise HeedfulError(
                f"{source} has {counts[0]} lines, but {target} has {counts[1]}; line n of one must translate line n "
                "of the other"
            )
        yield first, second


def _open(path: Path | str) -> AbstractContextManager[Iterable[bytes]]:
    if str(path) == "-":
        return nullcontext(sys.stdin.buffer)  # closing it is not ours to do
    return gzip.open(path) if str(path).endswith(".gz") else Path(path).open("rb")


def _decode(body: bytes, name: str, number: int, offset: int) -> str:
    """`body` stands `offset` bytes into the file."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HeedfulError(
            f"invalid UTF-8 in {name}, line {number}, byte offset {offset + error.start} "
            f"(0x{body[error.start]:02X}, byte {error.start + 1} of the line); convert the file to UTF-8"
        ) from None
    if "\0" in text:
        raise HeedfulError(f"NUL character in {name}, line {number}; remove it")
    return text


@functools.cache
def _report_once(message: str) -> None:
    """A corpus is read several times in one run; its oddities are told once."""
    logger.warning(message)
