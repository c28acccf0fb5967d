import gzip
import io
import json
import logging
import random
import tracemalloc

import pytest

from heedful.data import corpus as corpus_module
from heedful.data.corpus import Corpus, read_lines
from heedful.errors import HeedfulError

PAIRS = [("A dog runs.", "Ein Hund läuft."), ("", "leer"), ("  two  spaces ", "日本語"), ("end", "Ende")]


@pytest.fixture(autouse=True)
def _forget_reports():
    corpus_module._report_once.cache_clear()


def put(path, content):
    content = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def lines(path, content, **options):
    return list(read_lines(put(path, content), **options))


def test_only_newline_ends_a_line(tmp_path):
    odd = "a\rb\vc\fd\x1ce\x85f\u2028g\u2029h"
    assert lines(tmp_path / "odd", f"{odd}\n{odd}\r") == [odd, odd + "\r"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [("a\nb", ["a", "b"]), ("a\nb\n", ["a", "b"]), ("a\n\nb\n\n", ["a", "", "b", ""]), ("\n", [""])],
)
def test_last_line(tmp_path, content, expected):
    assert lines(tmp_path / "text", content) == expected
    assert lines(tmp_path / "text.gz", content) == expected


def test_crlf_and_byte_order_mark_are_dropped_and_told_once(tmp_path, caplog):
    path = put(tmp_path / "dos.txt", "\ufeffone\r\ntwo\n\ufeffthree\r\r\n")
    for _ in range(2):
        assert list(read_lines(path)) == ["one", "two", "\ufeffthree\r"]
    told = [record.message for record in caplog.records]
    assert len(told) == 2
    assert all(str(path) in message for message in told)
    assert "byte order mark" in told[0]
    assert "CRLF" in told[1]


def test_clean_text_is_reported_by_nothing(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "heedful"):
        assert lines(tmp_path / "clean", "a\rb\nc\n") == ["a\rb", "c"]
    assert not caplog.records


def test_stdin(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("eins\r\nzwei\u2028".encode())))
    assert list(read_lines("-")) == ["eins", "zwei\u2028"]


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", "\ufeffgrün\r\n".encode(), b"x\n\n"])
@pytest.mark.parametrize("bad", [b"caf\xe9", b"\xff", b"cut \xe2\x82", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_invalid_utf8_names_file_line_and_offset(tmp_path, before, bad):
    content = before + b"x" + bad + b"\nend\n"
    with pytest.raises(UnicodeDecodeError) as native:
        content.decode()
    path = put(tmp_path / "latin.de", content)
    with pytest.raises(HeedfulError) as error:
        list(read_lines(path))
    line = before.count(b"\n") + 1
    assert f"{path}, line {line}, byte offset {native.value.start} " in str(error.value)


def test_nul_names_file_and_line(tmp_path):
    path = put(tmp_path / "nul", "one\ntwo\nth\0ree\n")
    with pytest.raises(HeedfulError, match=r"NUL character in .*nul, line 3"):
        list(read_lines(path))


@pytest.mark.parametrize(("name", "content"), [("a", ""), ("a.gz", ""), ("a", "\ufeff")])
def test_empty_file(tmp_path, name, content):
    path = put(tmp_path / name, content)
    assert list(read_lines(path, allow_empty=True)) == []
    with pytest.raises(HeedfulError, match="is empty"):
        list(read_lines(path))


def test_missing_file_and_directory(tmp_path):
    with pytest.raises(HeedfulError, match=r"nowhere does not exist"):
        list(read_lines(tmp_path / "nowhere"))
    with pytest.raises(HeedfulError, match=r"cannot read .*[Dd]irectory"):
        list(read_lines(tmp_path))


def test_unreadable_file(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(HeedfulError, match=r"cannot read .*: Permission denied"):
        list(read_lines(tmp_path / "secret"))
    with pytest.raises(HeedfulError, match=r"cannot read .*: Permission denied"):
        Corpus((tmp_path / "secret", tmp_path / "secret"), "a", "b").digest()


def test_damaged_gzip(tmp_path):
    whole = gzip.compress("".join(f"line {i} {random.Random(i).random()}\n" for i in range(500)).encode())
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (whole[:-1], whole[:-9], whole[: len(whole) // 2], bytes(flipped), b"no gzip at all"):
        (tmp_path / "cut.gz").write_bytes(content)
        with pytest.raises(HeedfulError, match=r"cut.gz is a damaged or truncated gzip file"):
            list(read_lines(tmp_path / "cut.gz"))


def test_memory_is_bounded_by_the_longest_line(tmp_path):
    path = put(tmp_path / "long", ("x" * 300_000 + "\n") * 70)
    tracemalloc.start()
    assert sum(len(line) for line in read_lines(path)) == 21_000_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def write_corpus(directory, kind, pairs):
    name, _, gz = kind.partition(".gz")
    suffix = ".gz" if gz or kind.endswith(".gz") else ""
    if name == "files":
        return [
            put(directory / f"t.{language}{suffix}", "".join(pair[side] + "\n" for pair in pairs))
            for side, language in enumerate(("en", "de"))
        ]
    make = {
        "tsv": lambda s, t: f"{s}\t{t}",
        "jsonl": lambda s, t: json.dumps({"id": 7, "source": s, "target": t}),
        "json": lambda s, t: json.dumps({"translation": {"en": s, "de": t}}, ensure_ascii=False),
    }[name]
    return [put(directory / f"t.{name}{suffix}", "".join(make(*pair) + "\n" for pair in pairs))]


@pytest.mark.parametrize("kind", ["files", "files.gz", "tsv", "tsv.gz", "jsonl", "jsonl.gz", "json", "json.gz"])
def test_every_format_gives_the_same_pairs(tmp_path, kind):
    corpus = Corpus.of(write_corpus(tmp_path, kind, PAIRS))
    assert list(corpus.pairs()) == PAIRS
    assert corpus.count() == 4
    named = kind.startswith(("files", "json")) and not kind.startswith("jsonl")
    assert (corpus.source_lang, corpus.target_lang) == (("en", "de") if named else ("source", "target"))


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize("more", [1, 2, 5])
@pytest.mark.parametrize("longer", [0, 1])
def test_line_counts_differ(tmp_path, end, more, longer):
    counts = [7, 7]
    counts[longer] += more
    paths = [
        put(tmp_path / name, "\n".join(["text"] * count) + end)
        for name, count in zip(("a.en", "b.de"), counts, strict=True)
    ]
    message = f"{paths[0]} has {counts[0]} lines, but {paths[1]} has {counts[1]}"
    with pytest.raises(HeedfulError) as error:
        list(Corpus.of(paths).pairs())
    assert message in str(error.value)


@pytest.mark.parametrize("bad", ["only one column", "a\tb\tc", "\t\t"])
def test_tsv_with_other_than_two_columns(tmp_path, bad):
    path = put(tmp_path / "t.tsv", f"a\tb\n\n{bad}\n")
    with pytest.raises(HeedfulError, match=rf"t.tsv, line 3: {bad.count(chr(9)) + 1} columns"):
        list(Corpus.of(path).pairs())


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        '"text"',
        "[" * 100_000,
        "{}",
        '{"source": "a"}',
        '{"source": "a", "target": 7}',
        '{"source": "a", "target": null}',
        '{"translation": ["a", "b"]}',
        '{"source": "a\\u0000", "target": "b"}',
        '{"source": "\\ud83d", "target": "b"}',
        '{"source": "a", "target": "b"} {}',
    ],
)
def test_bad_json_names_the_line(tmp_path, bad):
    path = put(tmp_path / "t.jsonl", '{"source": "a", "target": "b"}\n\n' + bad + "\n")
    with pytest.raises(HeedfulError, match=r"t.jsonl, line 3: ") as error:
        list(Corpus.of(path).pairs())
    assert "\n" not in str(error.value)


def test_line_ends_inside_json_texts_become_spaces(tmp_path, caplog):
    record = json.dumps({"source": "two\nlines", "target": "a\u2028b\rc"})
    path = put(tmp_path / "t.jsonl", record + "\n")
    assert list(Corpus.of(path).pairs()) == [("two lines", "a\u2028b\rc")]
    assert "become spaces" in caplog.text


@pytest.mark.parametrize(
    ("names", "given", "expected"),
    [
        (("train.en", "train.de"), (None, None), ("en", "de")),
        (("a/x.ko.gz", "a/x.zh-Hant"), (None, None), ("ko", "zh-Hant")),
        (("x.en.txt", "x.de.txt.gz"), (None, None), ("en", "de")),
        (("dates.source", "dates.target"), (None, None), ("source", "target")),
        (("one", "two"), (None, None), ("source", "target")),
        (("en.txt", "de.txt"), (None, None), ("source", "target")),
        (("train.en", "train.de"), ("xx", None), ("xx", "de")),
        (("train.tsv",), (None, "fi"), ("source", "fi")),
    ],
)
def test_languages(names, given, expected):
    corpus = Corpus.of(names, *given)
    assert (corpus.source_lang, corpus.target_lang) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None), ("en", "de")),
        (("de", None), ("de", "en")),
        ((None, "en"), ("de", "en")),
        (("de", "en"), ("de", "en")),
    ],
)
def test_languages_of_translation_records(tmp_path, given, expected):
    corpus = Corpus.of(write_corpus(tmp_path, "json", [("yes", "ja")]), *given)
    assert (corpus.source_lang, corpus.target_lang) == expected
    assert list(corpus.pairs()) == [("yes", "ja") if expected[0] == "en" else ("ja", "yes")]


def test_records_in_many_languages_need_a_choice(tmp_path):
    record = json.dumps({"translation": {"en": "yes", "de": "ja", "fr": "oui"}})
    path = put(tmp_path / "t.jsonl", record + "\n")
    with pytest.raises(HeedfulError, match=r"en, de, fr; choose with --source-lang"):
        Corpus.of(path)
    assert list(Corpus.of(path, "fr", "de").pairs()) == [("oui", "ja")]


def test_files_named_in_the_wrong_order():
    with pytest.raises(HeedfulError, match="name the source file first"):
        Corpus.of(["train.en", "train.de"], "de", "en")


def test_what_is_no_corpus():
    with pytest.raises(HeedfulError, match=r"train.en alone .*\.tsv"):
        Corpus.of("train.en")
    with pytest.raises(HeedfulError, match="one file or two, not 3"):
        Corpus.of(["a", "b", "c"])


def test_digest_is_of_contents_and_format(tmp_path):
    def digest(source, target, names=("a.en", "a.de")):
        return Corpus.of([put(tmp_path / n, c) for n, c in zip(names, (source, target), strict=True)]).digest()

    base = digest("a\nb\n", "c\nd\n")
    assert len(base) == 64
    assert digest("a\nb\n", "c\nd\n", ("other.fi", "name.sv")) == base
    assert len({base, digest("a\nb\n", "c\nD\n"), digest("c\nd\n", "a\nb\n"), digest("a\nb\nc\n", "d\n")}) == 4
    same = [put(tmp_path / name, '{"translation": {"x": "a", "y": "b"}}\n') for name in ("t.tsv", "t.jsonl")]
    digests = {Corpus.of(same[0]).digest(), Corpus.of(same[1]).digest(), Corpus.of(same[1], "y", "x").digest()}
    assert len(digests) == 3
