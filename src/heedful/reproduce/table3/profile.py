"""Table 3's rows made smaller, all by the same factors, so that what tells one from another stays. Imports no torch.

Widths (d_model, d_ff, d_k) are divided by `width`, layers by `depth`, heads and rates stay. A stack then has
width² · depth times fewer parameters; the vocabulary is divided by width · depth, and so embeddings keep their share:
every row has the same fraction of its parameters. Steps are divided by one factor, big's three times as many too, and
the learning rate's curve is pressed together to fit: warm-up by that factor, and lr = sqrt(warm-up / 4000) makes it
reach the height that the paper's formula gives for d_model and 4,000 steps.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from heedful.errors import HeedfulError
from heedful.model.config import TransformerConfig
from heedful.recipes.config import Recipe
from heedful.recipes.named import recipe
from heedful.recipes.table3 import BASE, ROWS, Row

_VALIDATIONS = 4
"""Of a run; the last one counts, the others are where it goes on after the power failed."""


@dataclass(frozen=True)
class Profile:
    """Factors and sizes."""

    name: str
    width: int = 1
    depth: int = 1
    steps: int | None = None
    """Of base; the paper's where there is none."""
    batch_tokens: int | None = None
    pairs: int | None = None
    """At most, of the training set; all where there is none."""
    valid_pairs: int | None = None

    def recipe(self, row: Row) -> Recipe:
        """The row's named recipe, in this size."""
        full = recipe(row.recipe)
        if self.steps is None:
            return full
        assert isinstance(full.model, TransformerConfig)
        return replace(full, model=self._model(full.model)).override(self._rest(full, self.steps))

    def _model(self, model: TransformerConfig) -> TransformerConfig:
        return replace(
            model,
            layers=model.layers // self.depth,
            d_model=model.d_model // self.width,
            d_ff=model.d_ff // self.width,
            d_k=model.d_k and model.d_k // self.width,
            max_positions=_MAX_LENGTH,
        )

    def _rest(self, full: Recipe, base_steps: int) -> dict[str, Any]:
        paper = full.training
        factor = base_steps / (recipe(ROWS[0].recipe).training.max_steps or 1)
        steps = round((paper.max_steps or 1) * factor)
        warmup = max(1, round(paper.warmup_steps * factor))
        return {
            "vocab_size": full.data.vocab_size // (self.width * self.depth),
            "batch_tokens": self.batch_tokens,
            "max_length": _MAX_LENGTH,
            "max_steps": steps,
            "warmup_steps": warmup,
            "lr": paper.lr * math.sqrt(warmup / paper.warmup_steps),
            "validate_every": max(1, steps // _VALIDATIONS),
            "device_tokens": None,
            "keep_last": 1,
            "keep_best": 1,
        }


_MAX_LENGTH = 256
"""Tokens of a sentence, which learned positions reach."""
PROFILES = {
    each.name: each
    for each in (
        Profile("seconds", width=16, depth=2, steps=4, batch_tokens=256, pairs=100, valid_pairs=5),
        Profile("minutes", width=8, depth=2, steps=600, batch_tokens=1024, pairs=5000, valid_pairs=200),
        Profile("hours", width=4, depth=2, steps=3000, batch_tokens=2048, pairs=30_000, valid_pairs=1014),
        Profile("paper"),
    )
}
"""To try the command, to see it work, to learn something on two cores, and the real thing."""


def chosen_rows(names: str | None) -> tuple[Row, ...]:
    """Of the table, in its order, base always among them; all where none is named.

    Raises `HeedfulError` for one that the table does not have.
    """
    if names is None:
        return ROWS
    wanted = [name.strip() for name in names.split(",")]
    known = [row.name for row in ROWS]
    if unknown := [name for name in wanted if name not in known]:
        raise HeedfulError(f"--rows: {unknown[0]!r} is no row of Table 3; its rows are {', '.join(known)}")
    return tuple(row for row in ROWS if row.name in (BASE, *wanted))
