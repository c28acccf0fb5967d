"""Settings of a model so small that a training takes a second."""

from typing import Any

SMALL: dict[str, Any] = {
    "layers": 1,
    "d_model": 16,
    "d_ff": 32,
    "heads": 2,
    "vocab_size": 340,
    "batch_tokens": 400,
    "warmup_steps": 5,
    "validate_every": 4,
    "log_every": 2,
    "threads": 1,
    "seed": 7,
}
