"""A directory that processes share, one at a time."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heedful.errors import HeedfulError


@contextmanager
def locked(directory: Path, busy: str | None = None) -> Iterator[None]:
    """Makes the directory and holds its lock, which the system lifts from a process that dies.

    While another process holds it this waits, or raises `HeedfulError` with the message `busy`; it raises one, too,
    where nothing can be written there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / ".lock").open("w")
    except OSError as error:
        raise HeedfulError(f"cannot write to {directory}: {error.strerror}; name another --output") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError:
            raise HeedfulError(str(busy)) from None
        yield
