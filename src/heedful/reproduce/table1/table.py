"""Table 1 as numbers: the three columns from the layers themselves, and what they take on this machine."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from heedful.reproduce.machine import machine
from heedful.reproduce.table1.crossing import Spans, cheaper
from heedful.reproduce.table1.layers import ATTENTION, LAYERS, Layer
from heedful.reproduce.table1.measure import Measured, measure
from heedful.reproduce.table1.paths import longest_path
from heedful.reproduce.table1.products import Cost, Work, chain, cost, work

if TYPE_CHECKING:
    from heedful.progress import Meter

_COUNTED = [(n, d) for n in (64, 128, 256) for d in (32, 64)]
"""Lengths and widths whose counts determine the function."""
_LONGEST = 256
"""n up to which every layer that is measured is counted too; beyond, the function stands for it."""


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
    """Multiply-adds without projections, of n above r where the layer has one."""
    projections: Cost
    works: Mapping[tuple[int, int], Work]
    """By n and d, of what was measured."""
    chains: Mapping[int, int]
    """By n, products one after the other."""
    paths: Mapping[int, int]
    """By n, hops between the farthest positions."""
    measured: Mapping[tuple[int, int], Measured]
    """By n and d."""


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
        kinds: dict[str, Callable[[Row, int], float]] = {
            "multiply-adds without projections": lambda row, n: row.works[n, d].mixing,
            "multiply-adds": lambda row, n: row.works[n, d].multiply_adds,
            "time": lambda row, n: row.measured[n, d].seconds,
            "memory": lambda row, n: row.measured[n, d].bytes,
        }
        lengths = self.plan.lengths
        return {
            kind: cheaper(lengths, *([of(row, n) for n in lengths] for row in (self.row(ATTENTION), rival)))
            for kind, of in kinds.items()
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
    counts = {(n, d): work(layer, n, d) for n, d in _COUNTED}
    mixing = cost({size: each.mixing for size, each in counts.items()})
    projections = cost({size: each.projections for size, each in counts.items()})

    def counted(n: int, d: int) -> Work:
        if n <= _LONGEST:
            return work(layer, n, d)
        return Work(mixing(n, d) + projections(n, d), projections(n, d))

    return Row(
        layer,
        mixing,
        projections,
        {size: counted(*size) for size in found},
        {n: chain(layer, n, _COUNTED[0][1]) for n in plan.walked},
        {n: longest_path(layer, n) for n in plan.walked},
        found,
    )
