"""Contenders as processes of their own: how one is run, how long, and how much memory it takes at most."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_POLL = 0.02


class ContenderError(Exception):
    """A contender that did not do its work; the message has the end of what it said."""


@dataclass(frozen=True)
class Finished:
    """A process that is over."""

    seconds: float
    peak_mib: float
    """High water of its resident memory. Linux only: elsewhere not a number."""


def run(
    command: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    until: Callable[[], bool] | None = None,
    limit: float = 600.0,
) -> Finished:
    """Runs `command` from the repository's root until it ends, or until `until` is true: then it is killed.

    What it says goes to `log`. Raises `ContenderError` where it fails or passes `limit` seconds.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = (str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))} | dict(environment or {})
    start, peak = time.monotonic(), float("nan")
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=variables,
            cwd=ROOT,
            start_new_session=True,
        )
        try:
            while process.poll() is None:
                peak = _high_water(process.pid, peak)
                if until and until():
                    break
                if time.monotonic() - start > limit:
                    raise ContenderError(f"took more than {limit:.0f} s: {_end(log)}")
                time.sleep(_POLL)
            seconds = time.monotonic() - start
            enough = process.returncode is None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if not enough and process.returncode:
        raise ContenderError(f"exit code {process.returncode}: {_end(log)}")
    return Finished(seconds, peak)


def import_mib(python: Path, modules: str, log: Path) -> float:
    """Resident memory of a process that has imported `modules` and done nothing."""
    return run([python, "-c", f"import time, {modules}; time.sleep(0.2)"], log).peak_mib


def _high_water(process: int, before: float) -> float:
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return before
    # a process that has just ended has no memory any more
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), before)


def _end(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " | ".join(lines[-3:]) or "it said nothing"
