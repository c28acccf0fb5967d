"""Files inside archives, read as streams: nothing is unpacked, so no name in an archive is ever a path on the disk.

An archive may be gzip, tar, both, and one inside another; which, its first bytes say.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from heedful.errors import HeedfulError

MOST_TIMES = 50
"""What is read out of an archive is at most this many times its size; text shrinks to a third or a fifth."""
_LEAST_LIMIT = 1 << 20
_BUFFER_BYTES = 1 << 18
_GZIP = b"\x1f\x8b"
_DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError)


@contextmanager
def open_member(path: Path, *members: str) -> Iterator[IO[bytes]]:
    """The decompressed content of `path`, or of a member of that tar, or of a member of that member.

    Raises `HeedfulError`, also while it is being read: a damaged archive, no such member or one that is no plain
    file, more content than an archive of this size can honestly have.
    """
    with path.open("rb") as file:
        limit = max(_LEAST_LIMIT, MOST_TIMES * path.stat().st_size)
        stream = _decompressed(cast(IO[bytes], file), path, limit)
        for member in members:
            stream = _decompressed(_find(stream, member, path), path, limit)
        yield stream


def _decompressed(raw: IO[bytes], path: Path, limit: int) -> io.BufferedReader:
    stream = _guarded(raw, path, limit)
    if not stream.peek(len(_GZIP)).startswith(_GZIP):
        return stream
    return _guarded(cast(IO[bytes], gzip.GzipFile(fileobj=stream)), path, limit)


def _find(stream: IO[bytes], member: str, path: Path) -> IO[bytes]:
    """Reads on to the member, since a stream can be read once."""
    others = []
    try:
        tar = tarfile.open(fileobj=stream, mode="r|")  # noqa: SIM115  it holds nothing but the stream
        for info in tar:
            if info.name.removeprefix("./") == member:
                content = tar.extractfile(info) if info.isfile() else None
                if content is None:
                    raise HeedfulError(f"{member} in {path} is no plain file; the archive is not the one expected")
                return content
            others.append(info.name)
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    named = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
    raise HeedfulError(f"{path} has no {member}, but {named or 'nothing'}; the archive is not the one expected")


def _guarded(stream: IO[bytes], path: Path, limit: int) -> io.BufferedReader:
    return io.BufferedReader(_Guarded(stream, path, limit), _BUFFER_BYTES)


def _damaged(path: Path, error: Exception) -> HeedfulError:
    return HeedfulError(f"{path} is damaged ({error}); delete it, and the same command fetches it again")


class _Guarded(io.RawIOBase):
    """A stream whose damage, and whose excess over a limit, are a `HeedfulError`."""

    def __init__(self, stream: IO[bytes], path: Path, limit: int) -> None:
        self._stream, self._path, self._left = stream, path, limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # Buffer came with 3.12
        """The next bytes."""
        try:
            content = self._stream.read(len(buffer))
        except _DAMAGE as error:
            raise _damaged(self._path, error) from None
        self._left -= len(content)
        if self._left < 0:
            raise HeedfulError(f"{self._path} holds over {MOST_TIMES} times its size, which no archive of text does")
        buffer[: len(content)] = content
        return len(content)
