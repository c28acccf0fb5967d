"""One file over HTTP: resumed where it stopped, retried when the network fails. Knows no data set.

Proxies are those of the environment (HTTP_PROXY, HTTPS_PROXY, NO_PROXY), as requests reads them.
"""

import errno
import json
import logging
import os
import re
import shutil
import time
from http import HTTPStatus
from pathlib import Path

import requests
import urllib3
from requests.adapters import HTTPAdapter

from heedful.data.fetch.sums import unwritable
from heedful.errors import HeedfulError
from heedful.progress import progress

logger = logging.getLogger("heedful")

BACKOFF_SECONDS = 0.5
"""The pause after a second failure in a row; it doubles with each further one."""
_ATTEMPTS = 5
_TIMEOUT_SECONDS = (15.0, 60.0)
"""To connect; without a byte."""
_PASSING = (429, 500, 502, 503, 504)
_CHUNK_BYTES = 1 << 18
_MEGABYTE = 1_000_000


class UnavailableError(HeedfulError):
    """The address does not give the file; another one might."""


def download(url: str, part: Path) -> None:
    """The whole file at `url` in `part`; what `part` holds of it already is not fetched again.

    Beside it stands `part`.json, which says of what it is a part. An address that fails several times in a row
    without a byte of progress is given up. Raises `HeedfulError`; what has arrived is kept.
    """
    failures, furthest = 0, _size(part)
    with _session() as session:
        while True:
            try:
                _transfer(session, url, part)
                return
            except (urllib3.exceptions.HTTPError, requests.RequestException) as error:
                failures = 1 if _size(part) > furthest else failures + 1
                furthest = max(furthest, _size(part))
                if failures >= _ATTEMPTS or _final(error):
                    raise UnavailableError(_unreachable(url, error, part)) from None
            except OSError as error:
                raise unwritable(part, error) from None
            time.sleep(BACKOFF_SECONDS * 2**failures)


def forget(part: Path) -> None:
    """Removes `part` and what stands beside it."""
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)


def _session() -> requests.Session:
    """Retries what fails before a body comes; a body that breaks off is `download`'s."""
    retry = urllib3.Retry(
        total=_ATTEMPTS - 1,
        backoff_factor=BACKOFF_SECONDS,
        status_forcelist=_PASSING,
        raise_on_status=False,
        respect_retry_after_header=False,  # hours, if the server says so
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry))
    session.headers["Accept-Encoding"] = "identity"  # a .gz is to arrive as it is
    session.headers["User-Agent"] = "heedful"
    return session


def _transfer(session: requests.Session, url: str, part: Path) -> None:
    """One answer of the server, appended to what is there if it goes on from its end, otherwise from the start."""
    with session.get(url, headers=_range(url, part), stream=True, timeout=_TIMEOUT_SECONDS) as answer:
        if answer.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if answer.headers.get("Content-Range") == f"bytes */{_size(part)}":
                return  # it was whole
            forget(part)
            raise urllib3.exceptions.ProtocolError("it no longer has the part that is missing")
        _refuse(url, answer, part)
        start = _start(answer)
        if start not in (0, _size(part)):
            forget(part)
            raise urllib3.exceptions.ProtocolError(f"it went on from byte {start}, which was not asked for")
        if start == 0:
            if _size(part):
                logger.warning(f"{url} does not go on where it stopped; it is fetched from the start")
            _record(url, answer, part)
        rest = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
        _check_room(part, rest)
        total = None if rest is None else start + rest
        name = part.name.removesuffix(".part")
        with part.open("ab" if start else "wb") as file, progress(name, total, start) as meter:
            for chunk in answer.raw.stream(_CHUNK_BYTES, decode_content=False):
                file.write(chunk)
                meter.update(file.tell(), f"{file.tell() / _MEGABYTE:,.1f} MB")
            file.flush()
            os.fsync(file.fileno())


def _range(url: str, part: Path) -> dict[str, str]:
    """Asks for the rest, if `part` is of this very address and the server said how it tells versions apart."""
    try:
        beginning = json.loads(_beside(part).read_text(encoding="utf-8"))
        if _size(part) and beginning["url"] == url and beginning["version"]:
            return {"Range": f"bytes={_size(part)}-", "If-Range": beginning["version"]}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # a part of unknown origin is begun again
    return {}


def _record(url: str, answer: requests.Response, part: Path) -> None:
    """A part of this answer, of which nothing has come yet."""
    forget(part)
    tag = answer.headers.get("ETag", "")
    version = tag if tag.startswith('"') else answer.headers.get("Last-Modified")  # If-Range takes no weak tag
    _beside(part).write_text(json.dumps({"url": url, "version": version}) + "\n", encoding="utf-8")


def _refuse(url: str, answer: requests.Response, part: Path) -> None:
    """Raises `UnavailableError` for everything but a file."""
    if answer.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        said = f"{answer.status_code} {answer.reason or ''}".strip()
        remedy = "try again later" if answer.status_code in _PASSING else "its publisher may have moved it"
        raise UnavailableError(f"{url} answers {said}; {remedy}, {_by_hand(part)}")
    if answer.headers.get("Content-Type", "").startswith("text/html"):
        raise UnavailableError(f"{url} answers with a web page instead of the file; {_by_hand(part)}")


def _start(answer: requests.Response) -> int:
    """The byte of the file that the answer begins with; −1 where it does not say."""
    if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
        return 0
    said = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return int(said[1]) if said else -1


def _check_room(part: Path, rest: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    if rest is not None and rest > free:
        raise OSError(errno.ENOSPC, f"{rest / _MEGABYTE:,.0f} MB are to come and {free / _MEGABYTE:,.0f} MB free")


def _final(error: Exception) -> bool:
    """Whether trying again is of no use: urllib3 already has, or the address is none."""
    return isinstance(error, requests.RequestException)


def _unreachable(url: str, error: Exception, part: Path) -> str:
    cause: object = error
    while isinstance(cause, Exception):  # the innermost one says what happened
        inner = getattr(cause, "reason", None) or next((arg for arg in cause.args if isinstance(arg, Exception)), None)
        if not isinstance(inner, Exception):
            break
        cause = inner
    kept = "then the same command goes on where it stopped" if _size(part) else _by_hand(part)
    return f"{url} cannot be fetched ({cause}); check the network (behind a proxy, set HTTPS_PROXY), {kept}"


def _by_hand(part: Path) -> str:
    return f"or get the file yourself and put it at {part.with_suffix('')}"


def _beside(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
