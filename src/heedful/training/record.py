"""Where training tells what it does: metrics.jsonl, TensorBoard events, and the progress bar's lines."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from heedful.checkpoint import write_file
from heedful.errors import HeedfulError
from heedful.progress import Meter


class Recorder:
    """Writes each record as a JSON line and as TensorBoard scalars; after a resumption, from that step on.

    Every record has `step`; training records have loss, perplexity, learning_rate, gradient_norm,
    tokens_per_second (target tokens), epoch and minutes; validations have their scores under `valid_…`.
    Raises `HeedfulError` where nothing can be written.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self._directory = directory
        metrics, tensorboard = directory / "metrics.jsonl", directory / "tensorboard"
        _forget_after(metrics, step)
        with self._on_disk():
            tensorboard.mkdir(exist_ok=True)
            self._metrics = metrics.open("ab")
            # not SummaryWriter: its thread dies of a full disk, and whoever waits for it waits for ever
            self._events = EventsWriter(str(tensorboard / "events"))
            # TensorBoard hides what an interruption undid
            self._event(step + 1, session_log=SessionLog(status=SessionLog.START))
            self._events.flush()

    def write(self, step: int, values: dict[str, Any]) -> None:
        """One record."""
        with self._on_disk():
            self._metrics.write((json.dumps({"step": step} | values) + "\n").encode())
            self._metrics.flush()
            for name, value in values.items():
                if isinstance(value, float):
                    self._event(step, summary=scalar(name.replace("valid_", "valid/"), value))
            self._events.flush()

    def close(self) -> None:
        """Every record is on disk already."""
        for file in (self._metrics, self._events):
            with suppress(OSError):  # of a record that found no room, which has been told
                file.close()

    def _event(self, step: int, **content: Any) -> None:
        self._events.write_event(Event(wall_time=time.time(), step=step, **content))

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HeedfulError(
                f"cannot write the metrics of {self._directory}: {error.strerror or error}; "
                "make room, then the same command goes on from the last checkpoint"
            ) from error


class Window:
    """Averages over the updates since the last record."""

    def __init__(self) -> None:
        self.smoothed = self.likelihood = 0.0
        self.tokens = self.timed_tokens = 0
        self.rate = self.norm = 0.0
        self.restart()

    def restart(self) -> None:
        """Time that was not training does not count."""
        self.start, self.timed_tokens = time.monotonic(), 0

    def add(self, smoothed: float, likelihood: float, tokens: int, rate: float, norm: float) -> None:
        """One update: sums in nats over its target tokens, learning rate, gradient norm."""
        self.smoothed += smoothed
        self.likelihood += likelihood
        self.tokens += tokens
        self.timed_tokens += tokens
        self.rate, self.norm = rate, norm

    def summary(self) -> dict[str, float]:
        """The record's values."""
        return {
            "loss": self.smoothed / self.tokens,
            "perplexity": math.exp(min(self.likelihood / self.tokens, 700.0)),
            "learning_rate": self.rate,
            "gradient_norm": self.norm,
            "tokens_per_second": self.timed_tokens / max(1e-9, time.monotonic() - self.start),
        }


def _forget_after(path: Path, step: int) -> None:
    """Drops the records of updates that an interruption undid, and a line it cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + b"\n")
        except (ValueError, KeyError):
            continue
    write_file(path, b"".join(kept))


def training_note(step: int, values: dict[str, Any]) -> str:
    """A training record beside the progress bar."""
    return (
        f"step {step}  loss {values['loss']:.3f}  perplexity {values['perplexity']:.2f}  "
        f"{values['tokens_per_second']:.0f} tokens/s  lr {values['learning_rate']:.2e}"
    )


def say_validation(meter: Meter, step: int, values: dict[str, Any], best: bool) -> None:
    """A validation, on a line of its own."""
    mark = "  (best)" if best else ""
    measure = "F1" if "valid_f1" in values else "BLEU"
    meter.say(
        f"step {step}  validation: perplexity {values['valid_perplexity']:.4g}, "
        f"{values['valid_perplexity_per_word']:.4g} per word, {measure} {values[f'valid_{measure.lower()}']:.2f}{mark}"
    )
