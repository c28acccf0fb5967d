"""`heedful train`."""

import argparse
import sys

from heedful.cli.fields import given_fields
from heedful.recipes.job import make_job

_NAMED = ("recipe", "train_weights", "valid", "output", "source_lang", "target_lang", "init_from")


def train(arguments: argparse.Namespace) -> int:
    """Trains; 128 + the signal's number where one stopped it."""
    values = {name: getattr(arguments, name) for name in _NAMED} | given_fields(arguments)
    values["train"] = [tuple(group) for group in arguments.train] if arguments.train else None
    job = make_job(arguments.config, values)
    from heedful.recipes.run import run
    from heedful.training.distributed import rank

    outcome = run(job)
    if rank() == 0:
        print(f"{outcome.reason}; model in {job.output}, best validation BLEU {_bleu(outcome.position.best_bleu)}")
        if outcome.mean:
            count = len(outcome.mean.averaged)
            print(f"the model is the mean of the last {count} checkpoints, validation BLEU {_bleu(outcome.mean.bleu)}")
        if outcome.signal:
            print("the same command goes on from here", file=sys.stderr)
    return 128 + outcome.signal if outcome.signal else 0


def _bleu(value: float | None) -> str:
    return "not measured yet" if value is None else f"{value:.2f}"
