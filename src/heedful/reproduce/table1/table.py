"""Table 1 as numbers: the three columns from the layers themselves, and what they take on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from heedful.reproduce.machine import machine
from heedful.reproduce.table1.crossing import Spans, counted, measured
from heedful.reproduce.table1.layers import ATTENTION, LAYERS, Layer
from heedful.reproduce.table1.measure import Measured, measure
from heedful.reproduce.table1.paths import longest_path
from heedful.reproduce.table1.products import Cost, cost, work

if TYPE_CHECKING:
    from heedful.progress import Meter

_COUNTED = [(n, d) for n in (64, 128, 256) for d in (32, 64)]
"""Lengths and widths whose products are counted; they determine the function."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    lengths: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024, 2048)
    """n"""
    widths: tuple[int, ...] = (64, 256, 512)
    """d"""
    walked: tuple[int, ...] = (16, 64, 256)
    """n of chains and paths."""
    tokens: int = 2048
    """Of a batch, whatever the length of its sentences."""
    seconds: float = 1.0
    """At most for one layer, n and d."""


QUICK = Plan(lengths=(16, 64), widths=(16, 32), walked=(8, 16), tokens=64, seconds=0.01)
"""To try the command."""


@dataclass(frozen=True)
class Row:
    """One layer."""

    layer: Layer
    mixing: Cost
    """Multiply-adds without projections."""
    projections: Cost
    chains: Mapping[int, int]
    """By n, products one after the other."""
    paths: Mapping[int, int]
    """By n, hops between the farthest positions."""
    measured: Mapping[tuple[int, int], Measured]
    """By n and d."""

    @property
    def whole(self) -> Cost:
        """Multiply-adds, projections included."""
        return self.mixing + self.projections


@dataclass(frozen=True)
class Table:
    """The rows, and where they come from."""

    plan: Plan
    rows: tuple[Row, ...]
    machine: str

    def row(self, name: str) -> Row:
        """Of a layer."""
        return next(row for row in self.rows if row.layer.name == name)

    def crossings(self, rival: Row, d: int) -> dict[str, Spans]:
        """Where self-attention costs less than another layer, by what is compared."""
        own, lengths = self.row(ATTENTION), self.plan.lengths
        ours, theirs = ([row.measured[n, d] for n in lengths] for row in (own, rival))
        return {
            "multiply-adds without projections": counted(own.mixing, rival.mixing, d),
            "multiply-adds": counted(own.whole, rival.whole, d),
            "time": measured(lengths, [each.seconds for each in ours], [each.seconds for each in theirs]),
            "memory": measured(lengths, [each.bytes for each in ours], [each.bytes for each in theirs]),
        }


def make_table(plan: Plan, device: torch.device, meter: "Meter") -> Table:
    """Counts, walks and measures; `meter` is told of every layer, n and d."""
    sizes = [(n, d) for d in plan.widths for n in plan.lengths]
    found: dict[str, dict[tuple[int, int], Measured]] = {layer.name: {} for layer in LAYERS}
    for done, (n, d) in enumerate(sizes):
        meter.update(done / len(sizes), f"n = {n}, d = {d}")
        for layer in LAYERS:  # one after the other, so that what else the machine does meets all of them
            found[layer.name][n, d] = measure(layer, n, d, plan.tokens, device, plan.seconds)
    meter.update(1.0, "counting")
    return Table(plan, tuple(_row(layer, plan, found[layer.name]) for layer in LAYERS), machine(device))


def _row(layer: Layer, plan: Plan, found: Mapping[tuple[int, int], Measured]) -> Row:
    works = {(n, d): work(layer, n, d) for n, d in _COUNTED}
    return Row(
        layer,
        cost({at: each.mixing for at, each in works.items()}),
        cost({at: each.projections for at, each in works.items()}),
        {n: work(layer, n, _COUNTED[0][1]).chain for n in plan.walked},
        {n: longest_path(layer, n) for n in plan.walked},
        found,
    )
