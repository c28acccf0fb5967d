"""SHA256SUMS beside the data: what every file was when it was complete. `sha256sum -c SHA256SUMS` reads it too."""

import hashlib
import os
from pathlib import Path

from heedful.errors import HeedfulError

FILE = "SHA256SUMS"


class Sums:
    """The record of one directory."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._path = directory, directory / FILE
        self._known: dict[str, str] = {}
        self.unread: dict[str, str] = {}
        """Of files that nobody vouches for; recorded once they could be read."""
        if self._path.exists():
            try:
                lines = self._path.read_text(encoding="utf-8").splitlines()
            except ValueError:
                raise HeedfulError(f"{self._path} is not UTF-8; delete it and the files it should vouch for") from None
            for line in lines:
                digest, _, name = line.partition("  ")
                self._known[name] = digest

    def __getitem__(self, name: str) -> str | None:
        return self._known.get(name)

    def record(self, digests: dict[str, str]) -> None:
        """Adds these, on the disk before anything gets its final name. Raises `HeedfulError`."""
        self._known |= digests
        aside = self._path.with_name(f"{FILE}.part")
        try:
            with aside.open("w", encoding="utf-8") as file:
                file.writelines(f"{digest}  {name}\n" for name, digest in sorted(self._known.items()))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise unwritable(self._path, error) from None

    def holds(self, name: str) -> bool:
        """Whether the file is there as recorded.

        Raises `HeedfulError` if it is there and another: it may be the user's own.
        """
        path = self._directory / name
        if not path.exists():
            return False
        recorded, found = self[name], digest_of(path)
        if recorded is None:
            raise HeedfulError(f"{path} is there, but not from `heedful fetch`; move it or name another --output")
        if found != recorded:
            raise HeedfulError(
                f"{path} has the SHA-256 {found}, but {self._path} says {recorded}; delete it to have it made again"
            )
        return True


def unwritable(path: Path, error: OSError) -> HeedfulError:
    """What a full or read-only disk is to the user."""
    return HeedfulError(f"cannot write {path}: {error.strerror or error}; make room or name another --output")


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Of a file's content, in hexadecimal. Raises `HeedfulError`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, algorithm).hexdigest()
    except OSError as error:
        raise HeedfulError(f"cannot read {path}: {error.strerror}") from None
