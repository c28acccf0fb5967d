"""Table 3 as numbers: each row's runs beside the paper's figures, and how far the orders agree."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from heedful.recipes.table3 import BASE, GROUPS, Row
from heedful.reproduce.queue import Result
from heedful.reproduce.table3.agreement import Correlation, Pairs, correlation, pairs
from heedful.reproduce.table3.profile import Profile


@dataclass(frozen=True)
class Metric:
    """What is compared, of the paper and of a run."""

    name: str
    paper: Callable[[Row], float]
    ours: Callable[[Result], float]
    higher_is_better: bool


PERPLEXITY = Metric("perplexity", lambda row: row.perplexity, lambda result: result.perplexity, False)
BLEU = Metric("BLEU", lambda row: row.bleu, lambda result: result.bleu, True)
METRICS = (PERPLEXITY, BLEU)


@dataclass(frozen=True)
class Line:
    """A row and what its seeds came to."""

    row: Row
    results: Mapping[int, Result]
    """By seed."""

    def values(self, metric: Metric) -> list[float]:
        """One for each seed."""
        return [metric.ours(result) for result in self.results.values()]

    def mean(self, metric: Metric) -> float:
        """Over seeds."""
        return sum(self.values(metric)) / len(self.results)


@dataclass(frozen=True)
class Table:
    """The rows that are finished, and where they come from."""

    profile: Profile
    lines: Sequence[Line]
    data: str
    signature: str
    """Of BLEU."""
    machine: str

    @property
    def seeds(self) -> tuple[int, int]:
        """Runs of the row that has fewest, and of the one that has most."""
        counts = [len(line.results) for line in self.lines]
        return min(counts), max(counts)

    def correlation(self, metric: Metric) -> Correlation | None:
        """Over all rows."""
        return correlation(
            [metric.paper(line.row) for line in self.lines], [line.values(metric) for line in self.lines]
        )

    def group(self, letter: str) -> list[Line]:
        """A letter's rows, with base."""
        return [line for line in self.lines if line.row.group in (letter, BASE)]

    def pairs(self, letter: str, metric: Metric) -> Pairs:
        """Of a group's rows."""
        lines = self.group(letter)
        return pairs(
            {line.row.name: metric.paper(line.row) for line in lines},
            {line.row.name: line.values(metric) for line in lines},
        )

    def groups(self) -> list[str]:
        """Letters of which there are rows to compare."""
        return [letter for letter in GROUPS if any(line.row.group == letter for line in self.lines)]
