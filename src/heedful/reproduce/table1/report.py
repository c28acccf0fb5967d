"""Table 1 for people and for programs."""

import csv
import io
from collections.abc import Callable, Collection

from heedful.reproduce.sheets import Sheet
from heedful.reproduce.table1.crossing import told
from heedful.reproduce.table1.layers import ATTENTION, RECURRENT, K, R
from heedful.reproduce.table1.measure import Measured
from heedful.reproduce.table1.table import Table


def sheets(table: Table) -> list[Sheet]:
    """The paper's columns, what was measured, and where self-attention is the cheaper layer."""
    return [_columns(table), *_measured(table), _crossings(table)]


def to_csv(table: Table) -> str:
    """A line for each layer, n and d; multiply-adds of one sentence, time and memory of a batch of `tokens`."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["layer", "n", "d", "multiply_adds", "of_projections", "chain", "path", "tokens", "seconds", "bytes"]
    )
    for row in table.rows:
        for (n, d), each in row.measured.items():
            writer.writerow(
                [
                    *(row.layer.name, n, d, row.works[n, d].multiply_adds, row.works[n, d].projections),
                    *(row.chains.get(n, ""), row.paths.get(n, "")),
                    *(table.plan.tokens, f"{each.seconds:.6g}", each.bytes),
                ]
            )
    return out.getvalue()


def _columns(table: Table) -> Sheet:
    walked = ", ".join(map(str, table.plan.walked))
    header = ["layer", "operations", "counted", "projections", "sequential", "counted", "path", "walked"]
    rows = [
        [
            row.layer.name,
            f"O({row.layer.complexity})",
            str(row.mixing),
            str(row.projections),
            f"O({row.layer.sequential})",
            _several(row.chains.values()),
            f"O({row.layer.path})",
            _several(row.paths.values()),
        ]
        for row in table.rows
    ]
    note = (
        f"Counted on the layers as they run: the recurrent one is an LSTM, k = {K}, r = {R} (in blocks of r, so that a "
        "query meets 2r - 1 keys; n a multiple of r, at least 2r). Projections, which take each position by itself, "
        "are counted apart; sequential are products that wait for one another, paths are hops, both for "
        f"n = {walked}."
    )
    return Sheet("Table 1, the paper's columns beside the layers'", note, [header, *rows])


def _several(values: Collection[int]) -> str:
    """One number where all are equal."""
    return ", ".join(map(str, values if len(set(values)) > 1 else set(values)))


def _measured(table: Table) -> list[Sheet]:
    tokens = f"a batch of {table.plan.tokens:,} tokens in sentences of n, float32"
    return [
        *(
            _grid(table, d, "milliseconds", f"Forward and backward pass of {tokens}.", lambda each: each.seconds * 1e3)
            for d in table.plan.widths
        ),
        *(
            _grid(table, d, "megabytes", f"What {tokens}, leaves for the backward pass.", lambda each: each.bytes / 1e6)
            for d in table.plan.widths
        ),
    ]


def _grid(table: Table, d: int, unit: str, note: str, value: Callable[[Measured], float]) -> Sheet:
    header = ["layer", *(f"n = {n}" for n in table.plan.lengths)]
    rows = [[row.layer.name, *(_three(value(row.measured[n, d])) for n in table.plan.lengths)] for row in table.rows]
    return Sheet(f"{unit.capitalize()} at d = {d}", note, [header, *rows])


def _three(value: float) -> str:
    """Three digits, no power of ten."""
    return f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _crossings(table: Table) -> Sheet:
    rivals = [row for row in table.rows if row.layer.name != ATTENTION]
    header = ["d", "by", *(row.layer.name for row in rivals)]
    rows = []
    for d in table.plan.widths:
        by_rival = [table.crossings(rival, d) for rival in rivals]
        for kind in by_rival[0]:
            rows.append([str(d), kind, *(told(each[kind]) for each in by_rival)])
    note = "By counts and measurements at the lengths above, between two of them where straight lines on "
    return Sheet("Where self-attention costs less than", f"{note}logarithmic axes meet.", [header, *rows])


def headline(table: Table) -> str:
    """The paper's claim beside what was seen."""
    own, rival = table.row(ATTENTION), table.row(RECURRENT)
    factor = rival.mixing.maps / own.mixing.pairs
    seen = "; ".join(f"{told(table.crossings(rival, d)['time'])} at d = {d}" for d in table.plan.widths)
    return (
        f"Section 4: self-attention is faster than recurrence where n < d. Multiply-adds without projections cross at "
        f"n = {factor:g}·d (an LSTM has four gates); measured, it is faster: {seen}."
    )
