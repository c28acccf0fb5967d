"""The lines in a publisher's file: plain text, the SGML of WMT's and IWSLT's test sets, WIT3's tagged talks."""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import IO
from xml.sax.saxutils import unescape

from heedful.data.corpus import BYTE_ORDER_MARK
from heedful.errors import HeedfulError

_SEGMENT = re.compile(r"<seg\b[^>]*>(.*?)</seg\s*>", re.DOTALL | re.IGNORECASE)
_SEGMENT_START = re.compile(r"<seg\b", re.IGNORECASE)
_ENTITIES = {"&quot;": '"', "&apos;": "'"}
_SPOKEN = re.compile(rb"<(title|description)>(.*)</\1>")
_TAG = re.compile(rb"</?[A-Za-z]\w*(\s[^<>]*)?>")


def text(stream: Iterable[bytes]) -> Iterator[bytes]:
    """Line by line, without line ends; a byte order mark is dropped."""
    for number, line in enumerate(stream):
        body = line.removesuffix(b"\n").removesuffix(b"\r")
        yield body.removeprefix(BYTE_ORDER_MARK) if number == 0 else body


def sgm(stream: IO[bytes]) -> Iterator[bytes]:
    """The text of every `<seg>`, white space in it made one space.

    These files are SGML in name: an ampersand or a `<` of the text may stand there as it is, so what is between
    the tags is taken whole and only XML's five entities are resolved. Raises `HeedfulError` for a segment
    without an end.
    """
    content = stream.read().decode("utf-8", errors="surrogateescape")
    segments = _SEGMENT.findall(content)
    if len(segments) != len(_SEGMENT_START.findall(content)):
        raise HeedfulError("a <seg> in the file has no end")
    for segment in segments:
        yield " ".join(unescape(segment, _ENTITIES).split()).encode("utf-8", errors="surrogateescape")


def ted(stream: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of talks, with their titles and descriptions; other tagged lines are about the talks, and left out."""
    for line in text(stream):
        spoken = _SPOKEN.match(line.strip())
        if spoken:
            yield spoken[2].strip()
        elif not _TAG.match(line.strip()):
            yield line.strip()


READERS: dict[str, Callable[[IO[bytes]], Iterator[bytes]]] = {"text": text, "sgm": sgm, "ted": ted}
"""By the name that datasets.yaml uses."""
