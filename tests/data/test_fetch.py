"""Data sets from a publisher that is a server on loopback: what comes out, and what is refused."""

import errno
import fcntl
import gzip
import hashlib
import shlex
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from heedful.cli.main import main
from heedful.data.fetch import catalogue, fetch_dataset
from heedful.data.fetch import download as download_module
from heedful.data.fetch import fetch as fetch_module
from heedful.errors import HeedfulError
from tests.data.file_server import FileServer, Served, file_server
from tests.data.test_archive import tar

EN, DE = "A dog runs.\n\nTwo men sleep.\n", "Ein Hund rennt.\nleer\nZwei Männer schlafen.\n"
ARCHIVES = {
    "a.en.gz": gzip.compress(EN.encode()),
    "a.de.gz": gzip.compress(DE.encode()),
    "b.tgz": gzip.compress(tar({"b/x.en": b"more", "b/x.de": b"mehr", "v.en": EN.encode(), "v.de": DE.encode()})),
}
SPLITS = {
    "train": [{"source": "a.en.gz", "target": "a.de.gz"}, {"archive": "b.tgz", "source": "b/x.en", "target": "b/x.de"}],
    "val": [{"archive": "b.tgz", "source": "v.en", "target": "v.de"}],
}
FACTS = {"summary": "", "languages": ("en", "de"), "licence": "", "home": "its page", "recipe": "tiny", "valid": "val"}
Small = Callable[..., catalogue.Dataset]


def _sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setattr(download_module, "BACKOFF_SECONDS", 0.0)
    with file_server() as running:
        running.files = {f"/{name}": Served(content) for name, content in ARCHIVES.items()}
        yield running


@pytest.fixture
def small(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> Small:
    """Makes `small` a data set of the catalogue; its archives' fields can be given."""

    def make(splits: dict[str, list[dict[str, object]]] = SPLITS, **fields: dict[str, str]) -> catalogue.Dataset:
        names = {*ARCHIVES, *fields}
        archives = {
            name: catalogue.Archive(**({"url": f"{server.url}/{name}"} | fields.get(name, {}))) for name in names
        }
        made = catalogue.Dataset(**FACTS, name="small", splits=splits)  # type: ignore[arg-type]
        monkeypatch.setattr(catalogue, "_catalogue", lambda: (archives, {"small": made}))
        return made

    return make


def _files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()} - {".lock"}


def test_line_aligned_files_come_out(small: Small, tmp_path: Path) -> None:
    files = fetch_dataset(small(), tmp_path)
    assert files["train"] == (tmp_path / "train.en", tmp_path / "train.de")
    assert (tmp_path / "train.en").read_text() == EN + "more\n"
    assert (tmp_path / "train.de").read_text() == DE + "mehr\n"
    assert (tmp_path / "val.de").read_text() == DE
    archives = {f"downloads/{name}" for name in ARCHIVES}
    assert _files(tmp_path) == archives | {"train.en", "train.de", "val.en", "val.de", "SHA256SUMS"}


def test_the_record_is_what_sha256sum_reads(small: Small, tmp_path: Path) -> None:
    fetch_dataset(small(), tmp_path)
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=tmp_path, check=True)
    assert (tmp_path / "SHA256SUMS").read_text().count("\n") == 7


def test_a_second_call_asks_for_nothing(small: Small, server: FileServer, tmp_path: Path) -> None:
    fetch_dataset(small(), tmp_path)
    server.requests.clear()
    fetch_dataset(small(), tmp_path)
    (tmp_path / "val.de").unlink()
    fetch_dataset(small(), tmp_path)
    assert server.requests == []
    assert (tmp_path / "val.de").read_text() == DE


def test_files_alone_are_enough(small: Small, server: FileServer, tmp_path: Path) -> None:
    """The downloads may be deleted to save room."""
    fetch_dataset(small(), tmp_path)
    server.requests.clear()
    for path in (tmp_path / "downloads").iterdir():
        path.unlink()
    fetch_dataset(small(), tmp_path)
    assert server.requests == []


def test_after_a_failure_only_what_is_missing_is_fetched(small: Small, server: FileServer, tmp_path: Path) -> None:
    served = server.files.pop("/b.tgz")
    with pytest.raises(HeedfulError, match=r"b\.tgz answers 404 .*; the publisher's page is its page"):
        fetch_dataset(small(), tmp_path)
    assert _files(tmp_path) == {"downloads/a.en.gz", "downloads/a.de.gz"}
    server.files["/b.tgz"] = served
    server.requests.clear()
    fetch_dataset(small(), tmp_path)
    assert server.requests == [("/b.tgz", None)]


def test_a_published_checksum_is_checked(small: Small, tmp_path: Path) -> None:
    right = {"checksum": f"md5:{hashlib.md5(ARCHIVES['a.en.gz']).hexdigest()}", "cited": "its list"}
    fetch_dataset(small(**{"a.en.gz": right}), tmp_path / "right")
    wrong = {"checksum": f"sha256:{_sha(b'other')}", "cited": "its list"}
    found = _sha(ARCHIVES["a.en.gz"])
    with pytest.raises(
        HeedfulError, match=rf"http.*/a\.en\.gz has the sha256 {found}, but its list says {_sha(b'other')}"
    ):
        fetch_dataset(small(**{"a.en.gz": wrong}), tmp_path / "wrong")
    assert _files(tmp_path / "wrong") == set()


def test_an_unpublished_checksum_is_recorded_and_told(
    small: Small, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch_dataset(small(**{"b.tgz": {"checksum": f"sha256:{_sha(ARCHIVES['b.tgz'])}"}}), tmp_path)
    digest = _sha(ARCHIVES["a.en.gz"])
    assert f"a.en.gz: nobody publishes a checksum; SHA256SUMS now holds its sha256, {digest}" in caplog.text
    assert "b.tgz: nobody" not in caplog.text
    assert f"{digest}  downloads/a.en.gz\n" in (tmp_path / "SHA256SUMS").read_text()


def test_what_cannot_be_read_is_not_recorded(small: Small, server: FileServer, tmp_path: Path) -> None:
    """Else the good file that comes the next time would be refused."""
    good = server.files["/a.en.gz"].content
    server.files["/a.en.gz"].content = b"<html>come back later</html>"
    with pytest.raises(HeedfulError, match=r"a\.en\.gz"):
        fetch_dataset(small(), tmp_path)
    (tmp_path / "downloads" / "a.en.gz").unlink()
    server.files["/a.en.gz"].content = good
    fetch_dataset(small(), tmp_path)
    assert f"{_sha(good)}  downloads/a.en.gz\n" in (tmp_path / "SHA256SUMS").read_text()


@pytest.mark.parametrize("again", [True, False])
def test_another_file_than_the_first_time_is_refused(
    small: Small, server: FileServer, tmp_path: Path, again: bool
) -> None:
    """Whether it is downloaded again or was altered where it lies."""
    fetch_dataset(small(), tmp_path)
    (tmp_path / "train.en").unlink()
    other, path = gzip.compress(b"other\n"), tmp_path / "downloads" / "a.en.gz"
    if again:
        path.unlink()
        server.files["/a.en.gz"].content = other
    else:
        path.write_bytes(other)
    both = rf"a\.en\.gz has the sha256 {_sha(other)}, but at the first download it was {_sha(ARCHIVES['a.en.gz'])}"
    with pytest.raises(HeedfulError, match=both):
        fetch_dataset(small(), tmp_path)
    assert not (tmp_path / "train.en").exists()


def test_an_altered_file_is_refused(small: Small, tmp_path: Path) -> None:
    fetch_dataset(small(), tmp_path)
    (tmp_path / "val.en").write_text("altered")
    both = rf"val\.en has the SHA-256 {_sha(b'altered')}, but .*SHA256SUMS says {_sha(EN.encode())}; delete it"
    with pytest.raises(HeedfulError, match=both):
        fetch_dataset(small(), tmp_path)


def test_a_file_of_the_user_s_own_is_left_alone(small: Small, server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "train.en").write_text("mine\n")
    with pytest.raises(HeedfulError, match=r"train\.en is there, but not from `heedful fetch`"):
        fetch_dataset(small(), tmp_path)
    assert (tmp_path / "train.en").read_text() == "mine\n"
    assert server.requests == []


def test_an_archive_brought_by_hand_is_used(small: Small, server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    for name, content in ARCHIVES.items():
        (tmp_path / "downloads" / name).write_bytes(content)
    fetch_dataset(small(), tmp_path)
    assert server.requests == []
    assert (tmp_path / "val.en").read_text() == EN


def test_the_next_address_is_tried(
    small: Small, server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The publisher's archive holds the pair's archive; where it cannot be had, the pair's is fetched alone."""
    splits = {split: [{"archive": "all.tar", "source": "v.en", "target": "v.de"}] for split in ("train", "val")}
    nested = {"all.tar": {"inside": "in/b.tgz", "instead": "b.tgz"}}
    fetch_dataset(small(splits, **nested), tmp_path / "alone")
    assert "b.tgz is tried instead" in caplog.text
    server.files["/all.tar"] = Served(tar({"in/b.tgz": ARCHIVES["b.tgz"]}))
    server.requests.clear()
    fetch_dataset(small(splits, **nested), tmp_path / "all")
    assert server.requests == [("/all.tar", None)]
    assert (tmp_path / "alone" / "val.de").read_text() == (tmp_path / "all" / "val.de").read_text() == DE


def test_a_mirror_has_the_files_by_name(small: Small, server: FileServer, tmp_path: Path) -> None:
    elsewhere = {name: {"url": "http://publisher.invalid/download?id=1"} for name in ARCHIVES}
    server.files = {f"/mirror{path}": served for path, served in server.files.items()}
    fetch_dataset(small(**elsewhere), tmp_path, f"{server.url}/mirror/")
    assert (tmp_path / "val.en").read_text() == EN


def test_lines_that_train_would_refuse_are_left_out_on_both_sides(
    small: Small, server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.files["/a.en.gz"].content = gzip.compress(b"one\ntwo \xff\nthree\n")
    server.files["/a.de.gz"].content = gzip.compress(b"eins\nzwei\ndr\0ei\n")
    fetch_dataset(small(), tmp_path)
    assert (tmp_path / "train.en").read_text() == "one\nmore\n"
    assert (tmp_path / "train.de").read_text() == "eins\nmehr\n"
    assert "train: 2 pairs are left out" in caplog.text


def test_files_out_of_step_leave_nothing(small: Small, server: FileServer, tmp_path: Path) -> None:
    server.files["/a.en.gz"].content = gzip.compress(b"one line\n")
    with pytest.raises(HeedfulError, match=r"a\.en\.gz and a\.de\.gz .* do not have the same number of lines"):
        fetch_dataset(small(), tmp_path)
    assert not [name for name in _files(tmp_path) if name.startswith("train")]


def test_a_damaged_archive_leaves_nothing(small: Small, server: FileServer, tmp_path: Path) -> None:
    server.files["/a.de.gz"].content = ARCHIVES["a.de.gz"][:-9]
    with pytest.raises(HeedfulError, match=r"a\.de\.gz is damaged"):
        fetch_dataset(small(), tmp_path)
    assert not [name for name in _files(tmp_path) if name.startswith("train")]


def test_a_full_disk_leaves_nothing(small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    wanted = small()
    (tmp_path / "downloads").mkdir()
    for name, content in ARCHIVES.items():
        (tmp_path / "downloads" / name).write_bytes(content)
    monkeypatch.setattr(fetch_module.os, "fsync", full)
    with pytest.raises(HeedfulError, match="No space left on device; make room or name another --output"):
        fetch_dataset(wanted, tmp_path)
    assert not [name for name in _files(tmp_path) if name.startswith(("train", "val"))]


def test_two_at_once_are_one_too_many(small: Small, tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(HeedfulError, match="another `heedful fetch` is at work"):
            fetch_dataset(small(), tmp_path)


def test_every_nth_pair_is_held_out(small: Small, server: FileServer, tmp_path: Path) -> None:
    for side in ("en", "de"):
        server.files[f"/a.{side}.gz"].content = gzip.compress("".join(f"{n} {side}\n" for n in range(1, 8)).encode())
    held = {"train": [{**SPLITS["train"][0], "except_every": 3}], "val": [{**SPLITS["train"][0], "every": 3}]}
    fetch_dataset(small(held), tmp_path)
    assert (tmp_path / "val.de").read_text() == "3 de\n6 de\n"
    assert (tmp_path / "train.en").read_text() == "1 en\n2 en\n4 en\n5 en\n7 en\n"


def test_the_command(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    small()
    monkeypatch.chdir(tmp_path)
    assert main(["fetch", "small"]) == 0
    *files, _, following = capsys.readouterr().out.splitlines()
    assert files == ["data/small/train.en data/small/train.de", "data/small/val.en data/small/val.de"]
    words = shlex.split(following)
    assert words[:2] == ["heedful", "train"]
    assert main([*words[1:], "--max-steps=0", "--vocab-size=261", "--d-modle=8"]) == 2
    assert "--d-modle" in capsys.readouterr().err  # everything else in it is known
