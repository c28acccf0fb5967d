import gzip
import hashlib
import json
from dataclasses import asdict

import numpy as np
import pytest

from heedful.data.check import Finding, check_data, render
from heedful.data.corpus import Corpus
from heedful.errors import HeedfulError

GOOD = [(f"A plain sentence number {n}.", f"Ein einfacher Satz, Nummer {n}.") for n in range(30)]


def write(directory, pairs, name="train"):
    """Pairs of text or bytes as two files."""
    paths = []
    for side, language in enumerate(("en", "de")):
        texts = [pair[side] for pair in pairs]
        paths.append(directory / f"{name}.{language}")
        paths[-1].write_bytes(b"".join((t if isinstance(t, bytes) else t.encode()) + b"\n" for t in texts))
    return Corpus.of(paths)


def found(*lines):
    return Finding(len(lines), list(lines))


def test_clean_text(tmp_path):
    report = check_data(write(tmp_path, GOOD))
    [train] = report.sets
    assert (train.pairs, train.usable, report.refuses, report.overlaps) == (30, 30, [], [])
    for side in (train.source, train.target):
        assert side.blank == side.overlong == side.control == side.separators == side.replaced == found()
    assert train.duplicate_pairs == train.duplicate_sources == train.identical == train.ratio_outliers == found()
    assert all(file.lines == 30 and file.crlf == file.nul == file.invalid_utf8 == found() for file in train.files)


def test_everything_that_can_be_in_a_text(tmp_path):
    pairs = list(GOOD)
    pairs[1] = ("", "blank source")
    pairs[2] = ("blank target", " \u3000")
    pairs[3] = GOOD[0]
    pairs[4] = (GOOD[0][0], "another target")
    pairs[5] = ("the same", "the same")
    pairs[6] = ("bell \x07", "C1 \x9f and tab\t")
    pairs[7] = ("lone \r here", "u\u2028v\x85w")
    pairs[8] = ("replaced \ufffd", "ok")
    pairs[9] = ("word " * 300, "Wort " * 290)
    pairs[10] = ("x" * 5000, "y" * 4000)
    pairs[11] = ("short", "a target that is far too long for its source " * 3)
    pairs[12] = ("a source that is far too long for its target " * 3, "kurz")
    report = check_data(write(tmp_path, pairs))
    [train] = report.sets
    assert report.refuses == []
    assert (train.source.blank, train.target.blank) == (found(2), found(3))
    assert (train.duplicate_pairs, train.duplicate_sources) == (found(4), found(4, 5))
    assert train.identical == found(6)
    assert (train.source.control, train.target.control) == (found(7), found(7))
    assert (train.source.separators, train.target.separators) == (found(8), found(8))
    assert (train.source.replaced, train.target.replaced) == (found(9), found())
    assert (train.source.overlong, train.target.overlong) == (found(10, 11), found(10))
    assert set(train.ratio_outliers.lines) == {9, 12, 13}
    assert {line for line, _ in train.ratio_examples} == {9, 12, 13}
    assert train.usable == 30 - 2 - 2


def test_percentiles_by_an_independent_count(tmp_path):
    pairs = [("s" * n, "t" * (2 * n)) for n in range(1, 102)]
    [train] = check_data(write(tmp_path, pairs)).sets
    assert train.source.characters == {"p1": 2, "p50": 51, "p99": 100, "p100": 101}
    assert train.target.characters == {"p1": 4, "p50": 102, "p99": 200, "p100": 202}
    assert set(train.ratio.values()) == {2.0}


def test_every_bad_byte_is_counted_with_its_offset(tmp_path):
    pairs = [(text, "ok") for text in (b"\xef\xbb\xbfgut", "grün".encode(), b"caf\xe9", b"a\0b", b"\xff\r", b"end\r")]
    corpus = write(tmp_path, pairs)
    content = corpus.paths[0].read_bytes()
    report = check_data(corpus)
    file = report.sets[0].files[0]
    assert file.byte_order_mark
    assert not report.sets[0].files[1].byte_order_mark
    assert file.invalid_utf8 == found(3, 5)
    assert file.invalid_utf8_offsets == [content.index(b"\xe9"), content.index(b"\xff")]
    assert file.nul == found(4)
    assert file.crlf == found(5, 6)
    assert report.sets[0].source.separators == found()
    assert report.sets[0].source.replaced == found()
    assert len(report.refuses) == 2
    assert "invalid UTF-8 in 2 lines; the first is line 3, byte offset" in report.refuses[0]
    assert "NUL in 1 line;" in report.refuses[1]


def test_offsets_count_the_byte_order_mark(tmp_path):
    [train] = check_data(write(tmp_path, [(b"\xef\xbb\xbfa\xff", "x"), (b"\xff", "y")])).sets
    assert train.files[0].invalid_utf8_offsets == [4, 6]


def test_many_bad_lines_are_all_counted(tmp_path):
    [train] = check_data(write(tmp_path, [(b"\xff", "x")] * 1500)).sets
    assert train.files[0].invalid_utf8.count == 1500
    assert train.files[0].invalid_utf8.lines == list(range(1, 21))
    assert train.files[0].invalid_utf8_offsets == list(range(0, 2000, 2))


def test_overlap_with_valid_and_test(tmp_path):
    valid = [("new", "neu"), GOOD[7], ("", ""), (GOOD[9][0], "other")]
    test = [GOOD[3], GOOD[3], ("fresh", "frisch")]
    report = check_data(
        write(tmp_path, [*GOOD, ("", "")]), write(tmp_path, valid, "valid"), write(tmp_path, test, "test")
    )
    assert [(o.name, o.pairs, o.sources) for o in report.overlaps] == [
        ("valid", found(2), found(2, 4)),
        ("test", found(1, 2), found(1, 2)),
    ]
    assert report.refuses == []


def test_tsv_and_json_lines(tmp_path):
    tsv = tmp_path / "t.tsv"
    tsv.write_text("a\tb\nno tab\n\nc\td\te\nf\tg\n")
    [train] = check_data(Corpus.of(tsv)).sets
    assert train.files[0].malformed == found(2, 4)
    assert (train.pairs, train.usable, train.source.blank) == (3, 2, found(3))
    records = [json.dumps({"source": "a\x07", "target": "b"}), "{", json.dumps({"source": "\0", "target": "b"})]
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(records).encode()))
    report = check_data(Corpus.of(path))
    assert report.sets[0].files[0].malformed == found(2, 3)
    assert report.sets[0].source.control == found(1)
    assert len(report.refuses) == 1
    assert "line 2: not JSON" in report.refuses[0]


def good_but(position, pair):
    return [*GOOD[:position], pair, *GOOD[position + 1 :]]


CASES = {
    "good": GOOD,
    "blank lines": good_but(3, ("", "x")),
    "byte order mark": good_but(0, (b"\xef\xbb\xbfx", "y")),
    "crlf": good_but(4, ("x\r", "y")),
    "foreign line ends": good_but(4, ("x\u2028\v\r.", "y")),
    "one blank pair": [("", "")],
    "all blank": [("", "a"), ("b", " ")],
    "all too long": [("x" * 5000, "y")] * 3,
    "bad source": good_but(5, (b"\xe9", "x")),
    "bad target": good_but(5, ("x", b"\xe9")),
    "nul": good_but(5, ("x", "a\0b")),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("missing", [0, 1, -1])
@pytest.mark.parametrize("as_valid", [False, True])
def test_it_refuses_exactly_what_training_refuses(tmp_path, case, missing, as_valid):
    """Training reads the pairs of both, and needs one usable pair in train and one with text in valid."""
    corpus = write(tmp_path, CASES[case])
    if missing:
        path = corpus.paths[(1 + missing) // 2]
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    good = write(tmp_path, GOOD, "good")
    try:
        with_text = [pair for pair in corpus.pairs() if all(text.strip() for text in pair)]
    except HeedfulError:
        with_text = []
    trainable = [pair for pair in with_text if max(map(len, pair)) <= 16 * 256]
    report = check_data(good, corpus) if as_valid else check_data(corpus, good)
    assert bool(report.refuses) == (not (with_text if as_valid else trainable))
    as_test = check_data(good, good, corpus)
    assert as_test.refuses == []  # nobody trains on a test set
    assert bool(as_test.sets[2].problems) == (not with_text)


@pytest.mark.parametrize("name", ["empty", "missing", "truncated.gz"])
def test_files_that_cannot_be_read(tmp_path, name):
    good = write(tmp_path, GOOD)
    path = tmp_path / name
    if name == "empty":
        path.touch()
    elif name == "truncated.gz":
        path.write_bytes(gzip.compress(np.random.default_rng(0).bytes(10_000).hex().encode())[:-1000])
    report = check_data(Corpus.of([good.paths[0], path], "en", "de"))
    with pytest.raises(HeedfulError) as error:
        list(Corpus.of([good.paths[0], path], "en", "de").pairs())
    assert name in " ".join(report.refuses)
    if name != "empty":
        assert str(error.value) in report.refuses


def test_differing_line_counts_name_both(tmp_path):
    corpus = write(tmp_path, GOOD)
    corpus.paths[1].write_bytes(corpus.paths[1].read_bytes() + b"extra\n")
    [reason] = check_data(corpus).refuses
    assert reason == f"{corpus.paths[0]} has 30 lines but {corpus.paths[1]} has 31 lines"


def test_no_file_changes(tmp_path):
    corpus = write(tmp_path, CASES["crlf"])
    before = [hashlib.sha256(path.read_bytes()).digest() for path in corpus.paths]
    render(check_data(corpus, corpus, corpus))
    assert [hashlib.sha256(path.read_bytes()).digest() for path in corpus.paths] == before
    assert len(list(tmp_path.iterdir())) == 2


def test_report_for_people_and_for_programs(tmp_path):
    corpus = write(tmp_path, good_but(5, ("[bold]x[/]", b"\xe9")))
    report = check_data(corpus, write(tmp_path, GOOD, "valid"))
    assert json.loads(json.dumps(asdict(report)))["sets"][0]["files"][1]["invalid_utf8"]["lines"] == [6]
    text = render(report)
    assert "train would refuse this:" in text
    assert f"{corpus.paths[1]}: invalid UTF-8 in 1 line; the first is line 6" in text
    assert "pairs of valid that are in train too: 29" in text
    assert max(map(len, text.split("\n"))) < 300
    assert "\x1b" not in text
    assert "train would take this." in render(check_data(write(tmp_path, GOOD)))
