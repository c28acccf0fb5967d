"""`heedful train`."""

import argparse
import sys

from heedful.cli.fields import given_fields
from heedful.recipes.job import NAMED, make_job


def train(arguments: argparse.Namespace) -> int:
    """Trains; 128 + the signal's number where one stopped it."""
    values = {name: getattr(arguments, name) for name in NAMED} | given_fields(arguments)
    values["train"] = [tuple(group) for group in arguments.train] if arguments.train else None
    job = make_job(arguments.config, values)
    from heedful.recipes.run import run
    from heedful.training.distributed import rank

    outcome = run(job)
    if rank() == 0:
        measure = "F1" if job.recipe.trees else "BLEU"
        best = _shown(outcome.position.best_score)
        print(f"{outcome.reason}; model in {job.output}, best validation {measure} {best}")
        if outcome.mean:
            count, score = len(outcome.mean.averaged), _shown(outcome.mean.score)
            print(f"the model is the mean of the last {count} checkpoints, validation {measure} {score}")
        if outcome.signal:
            print("the same command goes on from here", file=sys.stderr)
    return 128 + outcome.signal if outcome.signal else 0


def _shown(value: float | None) -> str:
    return "not measured yet" if value is None else f"{value:.2f}"
