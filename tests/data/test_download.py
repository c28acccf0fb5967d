"""A file over HTTP from a server that breaks off, fails, lies and forgets."""

import errno
import io
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from heedful.data.fetch import download as module
from heedful.data.fetch.download import download
from heedful.errors import HeedfulError
from tests.data.file_server import FileServer, Served, file_server

CONTENT = bytes(range(251)) * 4001


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BACKOFF_SECONDS", 0.0)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "file.gz.part"


def _begun(server: FileServer, part: Path, size: int, etag: str = '"1"') -> None:
    """As a call leaves it that was killed."""
    part.write_bytes(CONTENT[:size])
    part.with_name(f"{part.name}.json").write_text(json.dumps({"url": f"{server.url}/file", "version": etag}))


def test_a_file_arrives(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT)
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT


def test_a_broken_transfer_goes_on_where_it_stopped(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT, breaks=[300_000, 200_000])
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=300000-", "bytes=500000-"]


def test_more_breaks_than_attempts_are_no_failure_while_it_advances(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT, breaks=[50_000] * 12)
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT
    assert len(server.requests) == 13


def test_a_later_call_goes_on(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT)
    _begun(server, part, 777)
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT
    assert server.requests == [("/file", "bytes=777-")]


def test_a_whole_part_is_done(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT)
    _begun(server, part, len(CONTENT))
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_begun_again(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT[:1000])
    _begun(server, part, 5000)
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT[:1000]


@pytest.mark.parametrize("served", [Served(CONTENT, ranges=False), Served(CONTENT, etag='"2"')])
def test_no_resuming_means_from_the_start(
    server: FileServer, part: Path, served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    """A server without ranges, and one whose file has changed meanwhile."""
    server.files["/file"] = served
    _begun(server, part, 0)
    part.write_bytes(b"x" * 5000)
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT
    assert "from the start" in caplog.text


@pytest.mark.parametrize(("etag", "beginning"), [(None, "{}"), (None, "not JSON"), ('W/"1"', None)])
def test_a_part_of_unknown_origin_is_not_built_on(
    server: FileServer, part: Path, etag: str | None, beginning: str | None
) -> None:
    """No record, or a server that names no version, or a weak one: nobody knows whether the halves fit."""
    server.files["/file"] = Served(CONTENT, etag=etag, breaks=[5000])
    part.write_bytes(b"x" * 100)
    if beginning:
        part.with_name(f"{part.name}.json").write_text(beginning)
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, None]


def test_a_part_of_another_address_is_not_built_on(server: FileServer, part: Path) -> None:
    server.files["/other"] = Served(CONTENT)
    _begun(server, part, 100)
    download(f"{server.url}/other", part)
    assert server.requests == [("/other", None)]


def test_passing_errors_are_tried_again(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT, statuses=[503, 500, 429])
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize(("statuses", "said", "asked"), [([503] * 9, "503", 5), ([403] * 9, "403 Forbidden", 1)])
def test_lasting_errors_name_address_and_remedy(
    server: FileServer, part: Path, statuses: list[int], said: str, asked: int
) -> None:
    server.files["/file"] = Served(CONTENT, statuses=statuses)
    with pytest.raises(HeedfulError, match=f"{server.url}/file answers {said}.*put it at .*file.gz$"):
        download(f"{server.url}/file", part)
    assert len(server.requests) == asked
    assert not part.exists()


def test_a_missing_file(server: FileServer, part: Path) -> None:
    with pytest.raises(HeedfulError, match=r"/file answers 404 Not Found; its publisher may have moved it"):
        download(f"{server.url}/file", part)


def test_a_web_page_is_no_archive(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(b"<html>log in</html>", content_type="text/html; charset=utf-8")
    with pytest.raises(HeedfulError, match="a web page instead of the file"):
        download(f"{server.url}/file", part)
    assert not part.exists()


def test_a_transfer_that_never_ends_is_given_up_and_kept(server: FileServer, part: Path) -> None:
    server.files["/file"] = Served(CONTENT, breaks=[1000] + [0] * 20)
    with pytest.raises(HeedfulError, match=r"cannot be fetched .*, then the same command goes on where it stopped$"):
        download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT[:1000]
    assert len(server.requests) == 5
    server.files["/file"].breaks.clear()
    download(f"{server.url}/file", part)
    assert part.read_bytes() == CONTENT
    assert server.requests[5:] == [("/file", "bytes=1000-")]


def test_nobody_listens(part: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(HeedfulError, match=rf"http://127.0.0.1:{port}/file cannot be fetched \(.*Connection refused"):
        download(f"http://127.0.0.1:{port}/file", part)


@pytest.mark.parametrize("url", ["nowhere/file", "ftp://127.0.0.1/file", "http://"])
def test_no_address(url: str, part: Path) -> None:
    with pytest.raises(HeedfulError, match="cannot be fetched"):
        download(url, part)


def test_the_environment_s_proxy_is_used(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["http://publisher.invalid/file"] = Served(CONTENT)
    monkeypatch.setenv("http_proxy", server.url)
    download("http://publisher.invalid/file", part)
    assert part.read_bytes() == CONTENT


def test_too_little_room_is_told_before_the_first_byte(
    server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/file"] = Served(CONTENT)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    with pytest.raises(HeedfulError, match=r"cannot write .*1 MB are to come and 0 MB free; make room"):
        download(f"{server.url}/file", part)


def test_a_full_disk(server: FileServer, part: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, _content: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    server.files["/file"] = Served(CONTENT)
    opened = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **kw: Full(path, "w") if mode in ("wb", "ab") else opened(path, mode, **kw)
    )
    with pytest.raises(HeedfulError, match="No space left on device; make room or name another --output"):
        download(f"{server.url}/file", part)
