"""Table 3 carried out: which runs there are, what they came to, how long the rest will take."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from heedful.data.corpus import Corpus
from heedful.evaluation.bleu import bleu
from heedful.model.complexity import training_flops
from heedful.recipes.config import Recipe
from heedful.recipes.plan import make_plan
from heedful.recipes.table3 import BASE, ROWS, Row
from heedful.reproduce import queue
from heedful.reproduce.machine import machine
from heedful.reproduce.queue import Result, Run
from heedful.reproduce.table3.profile import Profile
from heedful.reproduce.table3.table import Line, Table

_SECONDS = 8.0
"""Of the measurement that the expected times come from."""


@dataclass(frozen=True)
class Experiment:
    """Rows under seeds, on one corpus."""

    profile: Profile
    recipes: Mapping[str, Recipe]
    """Of all rows, by name."""
    runs: Sequence[Run]
    """What is asked for, in the order in which it is trained."""
    root: Path
    """Of the model directories; those of another profile have another."""

    @classmethod
    def of(
        cls,
        rows: Sequence[Row],
        profile: Profile,
        seeds: Sequence[int],
        corpora: tuple[Corpus, Corpus],
        output: Path,
        device: str = "auto",
    ) -> Self:
        """Every row under the first seed, then every row under the next, so that a table stands early."""
        recipes = {row.name: profile.recipe(row).override({"device": device}) for row in ROWS}
        runs = [Run(row.name, recipes[row.name], *corpora, seed) for seed in seeds for row in rows]
        return cls(profile, recipes, runs, output / "models" / profile.name)

    def work(self) -> int | None:
        """Trains what is not finished; the signal that ended it early. Raises `HeedfulError`."""
        return queue.work(self.runs, self.root).signal

    def results(self) -> dict[Run, Result]:
        """Of what is asked for, as far as it is finished."""
        return queue.results(self.runs, self.root)

    def table(self, device: torch.device) -> Table:
        """Of every run that is finished, row by row: those of earlier commands too, of whatever rows and seeds."""
        train, valid = self._corpora
        known = {
            row.name: sorted(int(path.name.partition("-")[2]) for path in (self.root / row.name).glob("seed-*"))
            for row in ROWS
        }
        runs = [Run(name, self.recipes[name], train, valid, seed) for name, seeds in known.items() for seed in seeds]
        by_row: dict[str, dict[int, Result]] = {}
        for run, result in queue.results(runs, self.root).items():
            by_row.setdefault(run.name, {})[run.seed] = result
        lines = [Line(row, by_row[row.name]) for row in ROWS if row.name in by_row]
        data = (
            f"{train.count():,} pairs {train.source_lang}-{train.target_lang}, validated on {valid.count():,} (SHA-256 "
            f"{train.digest()[:12]}, {valid.digest()[:12]})"
        )
        return Table(self.profile, lines, data, bleu(["one"], ["one"], valid.target_lang).signature, machine(device))

    def expected_hours(self) -> dict[Run, float]:
        """Of every run as a whole, validations not counted: base is measured, the others follow by their FLOPs."""
        base = self.recipes[BASE]
        plan = make_plan(base, [self._corpora[0]], (), 1, _SECONDS)
        source, target = round(plan.data.source_tokens), round(plan.data.target_tokens)
        tokens = plan.data.pairs_per_update * plan.data.target_tokens

        def flops(recipe: Recipe) -> int:
            return training_flops(recipe.model, plan.data.vocabulary[1], source, target)

        def hours(recipe: Recipe) -> float:
            share = flops(recipe) / flops(base)
            update = plan.measurement.overhead + plan.measurement.seconds_per_token * tokens * share
            return (recipe.training.max_steps or 0) * update / 3600

        return {run: hours(run.recipe) for run in self.runs}

    @property
    def _corpora(self) -> tuple[Corpus, Corpus]:
        return self.runs[0].train, self.runs[0].valid
