"""Table 3's rows: what each changes in the paper's base, and the figures that the paper gives. Imports no torch.

Perplexities are per token, on newstest2013 as BLEU is, without averaging of checkpoints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "table3-"
"""Before a row's name, that is its recipe's."""


@dataclass(frozen=True)
class Row:
    """A letter stands for what is varied, a number for the place under it, from above."""

    name: str
    change: str
    changes: Mapping[str, Any]
    """Fields of base that have other values; d_k and d_v follow from d_model and heads where nothing is said."""
    perplexity: float
    bleu: float
    millions: int | None = None
    """Of parameters; where nothing stands in the table it is base's."""

    @property
    def group(self) -> str:
        """The letter; `base` and `big` are their own."""
        return self.name if self.name in (BASE, BIG) else self.name[0]

    @property
    def recipe(self) -> str:
        """Its name."""
        return PREFIX + self.name


BASE, BIG = "base", "big"
BASE_MILLIONS = 65
ROWS = (
    Row(BASE, "N 6, d_model 512, d_ff 2048, h 8, P_drop 0.1, ε_ls 0.1", {}, 4.92, 25.8, BASE_MILLIONS),
    Row("A1", "h 1", {"heads": 1}, 5.29, 24.9),
    Row("A2", "h 4", {"heads": 4}, 5.00, 25.5),
    Row("A3", "h 16", {"heads": 16}, 4.91, 25.8),
    Row("A4", "h 32", {"heads": 32}, 5.01, 25.4),
    Row("B1", "d_k 16", {"d_k": 16}, 5.16, 25.1, 58),
    Row("B2", "d_k 32", {"d_k": 32}, 5.01, 25.4, 60),
    Row("C1", "N 2", {"layers": 2}, 6.11, 23.7, 36),
    Row("C2", "N 4", {"layers": 4}, 5.19, 25.3, 50),
    Row("C3", "N 8", {"layers": 8}, 4.88, 25.5, 80),
    Row("C4", "d_model 256", {"d_model": 256}, 5.75, 24.5, 28),
    Row("C5", "d_model 1024", {"d_model": 1024}, 4.66, 26.0, 168),
    Row("C6", "d_ff 1024", {"d_ff": 1024}, 5.12, 25.4, 53),
    Row("C7", "d_ff 4096", {"d_ff": 4096}, 4.75, 26.2, 90),
    Row("D1", "P_drop 0.0", {"dropout": 0.0}, 5.77, 24.6),
    Row("D2", "P_drop 0.2", {"dropout": 0.2}, 4.95, 25.5),
    Row("D3", "ε_ls 0.0", {"label_smoothing": 0.0}, 4.67, 25.3),
    Row("D4", "ε_ls 0.2", {"label_smoothing": 0.2}, 5.47, 25.7),
    Row("E", "learned positions", {"positions": "learned"}, 4.92, 25.7),
    Row(
        BIG,
        "d_model 1024, d_ff 4096, h 16, P_drop 0.3, three times the steps",
        {"d_model": 1024, "d_ff": 4096, "heads": 16, "dropout": 0.3, "max_steps": 300_000, "validate_every": 600},
        4.33,
        26.4,
        213,
    ),
)
"""As they stand in the paper."""
GROUPS = {
    "A": "heads, at equal cost",
    "B": "width of keys",
    "C": "size",
    "D": "regularisation",
    "E": "positions",
    BIG: "the big model",
}
"""What the letters vary; each is compared with base."""
