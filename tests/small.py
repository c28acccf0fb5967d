"""Settings of a model so small that a training takes a second, and a disk so small that nothing fits on it."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SMALL: dict[str, Any] = {
    "optimizer": "adam",  # plain arithmetic: equal sums in another order stay equal
    "weight_decay": 0.0,
    "precision": "float32",
    "schedule": "inverse-sqrt",  # of which a longer run's first part is a shorter run
    "lr": 4.5e-3,
    "consistency": 0.0,
    "consistency_after": 0,
    "layers": 1,
    "d_model": 16,
    "d_ff": 32,
    "heads": 2,
    "vocab_size": 340,
    "batch_tokens": 400,
    "both_directions": 0,
    "warmup_steps": 5,
    "validate_every": 4,
    "validate_beam_size": 1,
    "log_every": 2,
    "threads": 1,
    "seed": 7,
}


@contextmanager
def full_disk(room: int) -> Iterator[None]:
    """As a full disk: what would make a file longer than `room` bytes fails half-way."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
