"""Model shapes that are trained side by side, as overrides of heedful's recipes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_LIKE_PEERS = {
    "optimizer": "adam",
    "weight_decay": 0.0,
    "batch_tokens": 4096,
    "both_directions": 0,
    "label_smoothing": 0.1,
    "consistency": 0.0,
    "consistency_after": 0,
    "clip_norm": 1.0,
    "ema_decay": 0.0,
    "seed": 1,
}
_SCHEDULE = {"schedule": "inverse-sqrt", "lr": 2e-3, "warmup_steps": 1000}


@dataclass(frozen=True)
class TrainingShape:
    """A recipe, what differs from it, and how many updates a round takes."""

    name: str
    recipe: str
    overrides: Mapping[str, Any]
    warm_up: int
    """Updates before the measured ones."""
    measured: int
    summary: str
    peers: Sequence[str] = ("huggingface",)
    """Environments of those who train it too."""

    @property
    def fields(self) -> dict[str, Any]:
        """All that differs from the recipe."""
        return _LIKE_PEERS | _SCHEDULE | dict(self.overrides)


SHAPES = (
    TrainingShape(
        "tiny",
        "tiny",
        {"positions": "sinusoidal", "norm_position": "post", "dropout": 0.1, "vocab_size": 8000},
        5,
        15,
        "Transformer, 4+4 layers, d 128, d_ff 256, 4 heads, 8,000 pieces",
        ("huggingface", "joeynmt", "eole"),
    ),
    TrainingShape(
        "base",
        "base",
        {"vocab_size": 32000, "batch_tokens": 2048, "lr": 7e-4, "warmup_steps": 4000},
        1,
        3,
        "Transformer, 6+6 layers, d 512, d_ff 2,048, 8 heads, 32,000 pieces",
    ),
    TrainingShape(
        "rnn-attention",
        "rnn-attention",
        {
            "attention": "general",
            "layers": 1,
            "d_model": 256,
            "vocab_size": 8000,
            "dropout": 0.1,
            "share_embeddings": "none",
            "beta2": 0.98,
        },
        5,
        15,
        "LSTM, 1+1 layers, bidirectional encoder, general attention, d 256, 8,000 pieces",
        ("joeynmt",),
    ),
)


def shape(name: str) -> TrainingShape:
    """The shape of that name."""
    return next(each for each in SHAPES if each.name == name)
