"""Members of archives as streams: nested, hostile, damaged."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from heedful.data.fetch import archive as module
from heedful.data.fetch.archive import open_member
from heedful.errors import HeedfulError

TEXT = "".join(f"line {number}\n" for number in range(3000)).encode()


def tar(members: dict[str, bytes]) -> bytes:
    """A tar file of these members."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return made.getvalue()


def _read(path: Path, *members: str) -> bytes:
    with open_member(path, *members) as stream:
        return stream.read()


def _put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "members"),
    [
        (TEXT, ()),
        (gzip.compress(TEXT), ()),
        (tar({"other": b"x", "a/text": TEXT}), ("a/text",)),
        (gzip.compress(tar({"./a/text": TEXT})), ("a/text",)),
        (tar({"text.gz": gzip.compress(TEXT)}), ("text.gz",)),
        (gzip.compress(tar({"in.tgz": gzip.compress(tar({"text": TEXT}))})), ("in.tgz", "text")),
    ],
)
def test_gzip_and_tar_in_any_nesting(tmp_path: Path, content: bytes, members: tuple[str, ...]) -> None:
    assert _read(_put(tmp_path / "archive", content), *members) == TEXT


def test_names_in_an_archive_are_no_paths(tmp_path: Path) -> None:
    """A hostile tar is read like any other; nothing beside it appears."""
    home = tmp_path / "home"
    home.mkdir()
    path = _put(home / "a.tar", tar({"../outside": b"x", "/tmp/absolute-heedful": b"x", "text": TEXT}))
    assert _read(path, "text") == TEXT
    assert [found.name for found in tmp_path.rglob("*")] == ["home", "a.tar"]
    assert not Path("/tmp/absolute-heedful").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_a_member_that_is_no_plain_file(tmp_path: Path, kind: bytes) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as file:
        info = tarfile.TarInfo("text")
        info.type, info.linkname = kind, "/etc/passwd"
        file.addfile(info)
    with pytest.raises(HeedfulError, match=r"text in .*a\.tar is no plain file"):
        _read(_put(tmp_path / "a.tar", made.getvalue()), "text")


def test_a_missing_member_is_named_with_what_there_is(tmp_path: Path) -> None:
    path = _put(tmp_path / "a.tar", tar({f"m{number}": b"" for number in range(7)}))
    with pytest.raises(HeedfulError, match="has no text, but m0, m1, m2, m3, m4, …; the archive is not the one"):
        _read(path, "text")


@pytest.mark.parametrize("nested", [False, True])
def test_a_bomb_is_stopped_at_the_limit(tmp_path: Path, nested: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAST_LIMIT", 1000)
    bomb = gzip.compress(bytes(10_000_000))
    path = _put(tmp_path / "bomb", tar({"text": bomb}) if nested else bomb)
    limit = module.MOST_TIMES * path.stat().st_size
    with open_member(path, *(["text"] if nested else [])) as stream:
        pieces: list[bytes] = []
        with pytest.raises(HeedfulError, match="bomb holds over 50 times its size"):
            pieces.extend(iter(lambda: stream.read(4096), b""))
    assert 0 < sum(map(len, pieces)) <= limit


def test_a_sparse_member_is_a_bomb_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GNU tar notes holes instead of their zeros: a gigabyte in a kilobyte, without any compression."""
    monkeypatch.setattr(module, "_LEAST_LIMIT", 1000)
    header = bytearray(tarfile.TarInfo("text").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = b"S"
    header[386:398] = header[398:410] = b"00000000000\0"  # one piece of no length
    header[483:495] = b"%011o\0" % (1 << 30)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = _put(tmp_path / "a.tar", bytes(header) + bytes(1024))
    with pytest.raises(HeedfulError, match="50 times its size"):
        _read(path, "text")


@pytest.mark.parametrize("cut", [5, 60, -5])
def test_a_truncated_gzip(tmp_path: Path, cut: int) -> None:
    with pytest.raises(HeedfulError, match=r"a\.gz is damaged .*; delete it, and the same command fetches it again"):
        _read(_put(tmp_path / "a.gz", gzip.compress(TEXT)[:cut]))


@pytest.mark.parametrize("cut", [100, 512, 2000])
def test_a_truncated_tar(tmp_path: Path, cut: int) -> None:
    with pytest.raises(HeedfulError, match=r"a\.tar (is damaged|has no text)"):
        _read(_put(tmp_path / "a.tar", tar({"text": TEXT})[:cut]), "text")


def test_an_altered_gzip(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(TEXT))
    content[len(content) // 2] ^= 0xFF
    with pytest.raises(HeedfulError, match=r"a\.gz is damaged"):
        _read(_put(tmp_path / "a.gz", bytes(content)))


def test_the_damaged_one_of_two_is_named(tmp_path: Path) -> None:
    whole = _put(tmp_path / "whole.gz", gzip.compress(TEXT))
    cut = _put(tmp_path / "cut.gz", gzip.compress(TEXT)[:60])
    damaged = pytest.raises(HeedfulError, match=r"cut\.gz is damaged")
    with open_member(cut) as first, open_member(whole) as second, damaged:
        list(zip(first, second, strict=True))
