"""Where training tells what it does: metrics.jsonl, TensorBoard events, and the progress bar's lines."""

import json
import math
import time
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from heedful.progress import Meter


class Recorder:
    """Writes each record as a JSON line and as TensorBoard scalars; after a resumption, from that step on.

    Every record has `step`; training records have loss, perplexity, learning_rate, gradient_norm,
    tokens_per_second (target tokens), epoch and minutes; validations have their scores under `valid_…`.
    """

    def __init__(self, directory: Path, step: int) -> None:
        self._path = directory / "metrics.jsonl"
        _forget_after(self._path, step)
        self._file = self._path.open("a", encoding="utf-8", newline="\n")
        self._events = SummaryWriter(str(directory / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, values: dict[str, Any]) -> None:
        """One record."""
        self._file.write(json.dumps({"step": step} | values) + "\n")
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, float):
                self._events.add_scalar(name.replace("valid_", "valid/"), value, step)

    def close(self) -> None:
        """Everything on disk."""
        self._file.close()
        self._events.close()


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
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError):
            continue
    path.write_text("".join(kept), encoding="utf-8")


def training_note(values: dict[str, Any]) -> str:
    """A training record beside the progress bar."""
    return (
        f"step {values['step']}  loss {values['loss']:.3f}  perplexity {values['perplexity']:.2f}  "
        f"{values['tokens_per_second']:.0f} tokens/s  lr {values['learning_rate']:.2e}"
    )


def say_validation(meter: Meter, step: int, values: dict[str, Any], best: bool) -> None:
    """A validation, on a line of its own."""
    mark = "  (best)" if best else ""
    meter.say(
        f"step {step}  validation: perplexity {values['valid_perplexity']:.4g}, "
        f"{values['valid_perplexity_per_word']:.4g} per word, BLEU {values['valid_bleu']:.2f}{mark}"
    )
