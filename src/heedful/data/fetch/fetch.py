"""A data set's archives, then its files: each verified, none half-written under its name.

SHA256SUMS is written before a file gets its final name. A file that stands there without a line in it is
therefore not from here, and is left alone.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import IO

from heedful.data.fetch.archive import open_member
from heedful.data.fetch.catalogue import Dataset, Part, archive
from heedful.data.fetch.download import UnavailableError, download, forget
from heedful.data.fetch.formats import READERS
from heedful.data.fetch.sums import FILE, Sums, digest_of, unwritable
from heedful.data.lock import locked
from heedful.errors import HeedfulError
from heedful.progress import progress

logger = logging.getLogger("heedful")

DOWNLOADS = "downloads"
"""Where the archives are kept, in the output directory."""
_STEP = 10_000


def fetch_dataset(wanted: Dataset, output: Path, mirror: str | None = None) -> dict[str, tuple[Path, Path]]:
    """The files of every split, fetched and made as far as they are not there; the same call goes on where it stopped.

    Args:
        wanted: what `catalogue.dataset` gave.
        output: directory, made if need be.
        mirror: address under which the archives are found by name, instead of the publishers' own.

    Raises:
        HeedfulError: an address, a checksum, an archive or the disk fails; what is complete stays.
    """
    with locked(output, f"another `heedful fetch` is at work in {output}; let it finish"):
        sums = Sums(output)
        complete = {name for split in wanted.splits for name in wanted.files(split) if sums.holds(name)}
        todo = [split for split in wanted.splits if not complete.issuperset(wanted.files(split))]
        needed = dict.fromkeys(name for split in todo for part in wanted.splits[split] for name in part.archives)
        have = {name: _obtain(name, output, sums, mirror, wanted.home) for name in needed}
        for split in todo:
            _make(wanted, split, output, sums, have)
            for name in dict.fromkeys(name for part in wanted.splits[split] for name in part.archives):
                _vouch(have[name], sums)
    return {split: _both(output, wanted.files(split)) for split in wanted.splits}


def _obtain(name: str, output: Path, sums: Sums, mirror: str | None, home: str) -> str:
    """The archive in DOWNLOADS, or what `instead` names; its name. What is there already is not fetched."""
    names = [name]
    while following := archive(names[-1]).instead:
        names.append(following)
    for each in names:
        path = output / DOWNLOADS / each
        if path.exists():
            _verify(each, path, str(path), sums)
            return each
    for each in names:
        try:
            _download(each, output, sums, mirror)
            return each
        except UnavailableError as error:
            if each == names[-1]:
                raise HeedfulError(f"{error}; the publisher's page is {home}") from None
            logger.warning(f"{error}; {names[names.index(each) + 1]} is tried instead")
    raise AssertionError("one returns or raises")


def _download(name: str, output: Path, sums: Sums, mirror: str | None) -> None:
    path = output / DOWNLOADS / name
    part = path.with_name(f"{name}.part")
    path.parent.mkdir(exist_ok=True)
    url = f"{mirror.rstrip('/')}/{name}" if mirror else archive(name).url
    download(url, part)
    try:
        _verify(name, part, url, sums)
    except HeedfulError:
        forget(part)
        raise
    part.replace(path)
    forget(part)


def _verify(name: str, found: Path, origin: str, sums: Sums) -> None:
    """The published checksum, which is recorded, or the one of the first time. Raises `HeedfulError` naming both.

    `found` is checked, and `origin` named in the error.
    """
    described, recorded, digest = archive(name), sums[f"{DOWNLOADS}/{name}"], digest_of(found)
    if described.checksum:
        algorithm, expected = described.checksum.split(":")
        actual = digest if algorithm == "sha256" else digest_of(found, algorithm)
        if actual != expected:
            raise HeedfulError(
                f"{origin} has the {algorithm} {actual}, but {described.cited} says {expected}; it came damaged, or "
                "its publisher changed it: delete it if it is a file here, and run the same command again"
            )
    elif recorded and digest != recorded:
        raise HeedfulError(
            f"{origin} has the sha256 {digest}, but at the first download it was {recorded}; it came damaged, or its "
            f"publisher changed it: to accept that, delete the line of {name} in {FILE}"
        )
    if described.checksum and not recorded:
        sums.record({f"{DOWNLOADS}/{name}": digest})
    elif not recorded:
        sums.unread[name] = digest


def _vouch(name: str, sums: Sums) -> None:
    """Records an archive whose checksum nobody publishes: not before it could be read, or a damaged one would stand."""
    if digest := sums.unread.pop(name, None):
        sums.record({f"{DOWNLOADS}/{name}": digest})
        logger.warning(f"{name}: nobody publishes a checksum; {FILE} now holds its sha256, {digest}")


def _make(wanted: Dataset, split: str, output: Path, sums: Sums, have: dict[str, str]) -> None:
    """The two files of a split, written aside until they are complete."""
    names = wanted.files(split)
    asides = _both(output, tuple(f"{name}.part" for name in names))
    digests = hashlib.sha256(), hashlib.sha256()
    written = dropped = 0
    try:
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("wb")) for path in asides]
            meter = stack.enter_context(progress(f"{wanted.name} {split}"))
            for pair in (pair for part in wanted.splits[split] for pair in _pairs(part, output, have)):
                if not all(_usable(side) for side in pair):
                    dropped += 1
                    continue
                written += 1
                for side, file, digest in zip(pair, files, digests, strict=True):
                    file.write(line := side + b"\n")
                    digest.update(line)
                if written % _STEP == 0:
                    meter.update(written, f"{written:,} pairs")
            meter.update(written, f"{written:,} pairs")
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        sums.record({name: digest.hexdigest() for name, digest in zip(names, digests, strict=True)})
        for aside, path in zip(asides, _both(output, names), strict=True):
            aside.replace(path)
    except OSError as error:
        raise unwritable(output / names[0], error) from None
    finally:
        for aside in asides:
            aside.unlink(missing_ok=True)
    if dropped:
        logger.warning(f"{split}: {dropped:,} pairs are left out, since a line is no UTF-8 or holds a NUL")


def _pairs(part: Part, output: Path, have: dict[str, str]) -> Iterator[tuple[bytes, bytes]]:
    """Raises `HeedfulError` where the two files do not keep step."""
    reader = READERS[part.format]
    with ExitStack() as stack:
        sides = [reader(stack.enter_context(_opened(part, side, output, have))) for side in (part.source, part.target)]
        try:
            for number, pair in enumerate(zip(*sides, strict=True), start=1):
                if (part.every and number % part.every) or (part.except_every and number % part.except_every == 0):
                    continue
                yield pair
        except ValueError:
            raise HeedfulError(
                f"{part.source} and {part.target} of {', '.join(part.archives)} in {output / DOWNLOADS} do not have "
                "the same number of lines; delete them to have them fetched again"
            ) from None


def _opened(part: Part, side: str, output: Path, have: dict[str, str]) -> AbstractContextManager[IO[bytes]]:
    found = have[part.archive or side]
    within = archive(found).inside
    members = [*([within] if within else []), *([side] if part.archive else [])]
    return open_member(output / DOWNLOADS / found, *members)


def _usable(line: bytes) -> bool:
    """Whether `heedful train` could read it."""
    if b"\0" in line:
        return False
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _both(directory: Path, names: tuple[str, ...]) -> tuple[Path, Path]:
    return directory / names[0], directory / names[1]
