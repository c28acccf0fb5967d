"""Lines of publishers' files."""

import io

import pytest

from heedful.data.fetch.formats import sgm, ted, text
from heedful.errors import HeedfulError


def test_text_keeps_all_but_line_ends_and_mark() -> None:
    assert list(text([b"\xef\xbb\xbfa \r\n", b"\xe2\x80\xa8b\rc\n", b"\n", b"end"])) == [
        b"a ",
        b"\xe2\x80\xa8b\rc",
        b"",
        b"end",
    ]


def test_segments_are_found_however_they_are_written() -> None:
    content = """<!DOCTYPE mteval><refset setid="t"><DOC docid="1"><hl>
<seg id="1">  R&D, 3 < 5 &amp;lt; &quot;x&quot;  </seg>
</hl><p><seg id=2>two
  lines</seg><SEG id="3">Größe</SEG > <seg id="4"></seg></p></DOC></refset>"""
    lines = [line.decode() for line in sgm(io.BytesIO(content.encode()))]
    assert lines == ['R&D, 3 < 5 &lt; "x"', "two lines", "Größe", ""]


def test_a_segment_without_end() -> None:
    with pytest.raises(HeedfulError, match="no end"):
        list(sgm(io.BytesIO(b'<seg id="1">a\n<seg id="2">b</seg>')))


def test_what_is_said_in_a_talk() -> None:
    talk = """<url>http://www.ted.com/talks/1</url>
<keywords>talks, art</keywords>
<talkid>1</talkid>
<title>A : Title </title>
<description>TED Talk Subtitles: what it is.</description>
 The first line.

<3 is text.
<reviewer href="x"></reviewer>
"""
    lines = [line.decode() for line in ted(io.BytesIO(talk.encode()))]
    assert lines == ["A : Title", "TED Talk Subtitles: what it is.", "The first line.", "", "<3 is text."]
