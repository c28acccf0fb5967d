"""Progress of long work: a bar with an honest ETA on a terminal, plain lines elsewhere. Writes to stderr."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_PLAIN_SECONDS = 15.0
"""Least time between two plain lines."""
_SPEED_SECONDS = 600.0
"""The speed behind the ETA is that of the last minutes, pauses for validation included."""


class Meter:
    """Where one piece of work tells how far it is."""

    def __init__(self, label: str, total: float | None, bar: Progress | None, done: float = 0.0) -> None:
        self._label, self._total, self._bar = label, total, bar
        self._before, self._done, self._note = done, done, ""
        self._start = self._last = time.monotonic()
        self._task = bar.add_task(label, total=total, note="") if bar else None
        self.update(done)

    def update(self, done: float, note: str = "") -> None:
        """`done` of the total is finished; `note` is shown beside it."""
        self._done, self._note = done, note
        if self._bar and self._task is not None:
            self._bar.update(self._task, completed=done, note=note)
        elif time.monotonic() - self._last >= _PLAIN_SECONDS:
            self._last = time.monotonic()
            print(self._plain(), file=sys.stderr, flush=True)

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        if self._bar:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def _plain(self) -> str:
        elapsed = time.monotonic() - self._start
        share = f" {self._done / self._total:.0%}" if self._total else ""
        left = ""
        if self._total and self._done > self._before:
            left = f", {_clock(elapsed * (self._total - self._done) / (self._done - self._before))} left"
        return f"{self._label}{share} after {_clock(elapsed)}{left}{'  ' if self._note else ''}{self._note}"


@contextmanager
def progress(label: str, total: float | None = None, done: float = 0.0, shown: bool = True) -> Iterator[Meter]:
    """A `Meter` for work of size `total`, in any unit, of which `done` was finished before.

    `total` is None where the size is unknown; not `shown` is for a process beside the one that tells.
    """
    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield Meter(label, total, None, done)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, speed_estimate_period=_SPEED_SECONDS) as bar:
        yield Meter(label, total, bar, done)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
