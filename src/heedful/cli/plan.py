"""`heedful plan`."""

import argparse
import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING

from heedful.cli.fields import given_fields
from heedful.errors import HeedfulError
from heedful.evaluation.tables import columns
from heedful.recipes.gpus import GPUS, SECONDS_AN_UPDATE, gpu
from heedful.recipes.job import for_few, training_corpora
from heedful.recipes.named import recipe
from heedful.recipes.paper import SUSTAINED

if TYPE_CHECKING:
    from heedful.recipes.plan import Memory, Plan


def plan(arguments: argparse.Namespace) -> int:
    """Parameters, memory, tokens, FLOPs and hours."""
    given = given_fields(arguments)
    chosen = recipe(arguments.recipe).override(given)
    kinds = (gpu(arguments.gpu),) if arguments.gpu else GPUS
    if arguments.gpus < 1:
        raise HeedfulError(f"--gpus {arguments.gpus} is no number of GPUs; give 1 or more")
    if not 0 < arguments.seconds < math.inf:
        raise HeedfulError(f"--seconds {arguments.seconds} is no time to measure for; give a number above 0")
    train = [tuple(group) for group in arguments.train] if arguments.train else None
    corpora = training_corpora(chosen, train, arguments.train_trees, (None, None))
    chosen = for_few(chosen, corpora, given)
    from heedful.recipes.plan import make_plan

    made = make_plan(chosen, corpora, kinds, arguments.gpus, arguments.seconds)
    print(json.dumps(asdict(made), ensure_ascii=False, indent=2) if arguments.json else _render(made))
    return 0


def _render(made: "Plan") -> str:
    data, measured, sizes = made.data, made.measurement, made.parameters
    read = f"{data.lines:,} pairs"
    if data.sampled < data.lines:
        read += f", of which {data.sampled:,} were tokenised"
    facts = [
        ("data", f"{read}; {data.source_tokens:.1f} source and {data.target_tokens:.1f} target tokens a pair"),
        ("vocabulary", " and ".join(f"{size:,}" for size in dict.fromkeys(data.vocabulary)) + " pieces"),
        (
            "parameters",
            f"{sizes['total']:,}: "
            + ", ".join(f"{name} {size:,}" for name, size in sizes.items() if name != "total" and size),
        ),
        (
            "an update",
            f"{data.pairs_per_update:,.0f} pairs: {data.pairs_per_update * data.source_tokens:,.0f} source and "
            f"{data.pairs_per_update * data.target_tokens:,.0f} target tokens, and {data.padding:.0%} padding",
        ),
        ("in all, at most", f"{made.updates:,} updates, {made.epochs:,.1f} epochs"),
        ("tokens", f"{made.source_tokens:.3g} source, {made.target_tokens:.3g} target"),
        ("FLOPs", f"{made.flops:.2e}, matrix products of real tokens, forward and backward"),
        ("memory here", _memory(made.memory)),
        ("time here", f"{_time(made.hours)}, validations not counted"),
        (
            "measured",
            f"{measured.updates} updates of {measured.smallest:,} to {measured.largest:,} target tokens on "
            f"{measured.device}, {measured.threads} threads, in {measured.seconds:.0f} s: {measured.overhead:.3f} s an "
            f"update and {1 / measured.seconds_per_token:,.0f} target tokens/s",
        ),
    ]
    if made.flops_by_paper:
        facts.insert(
            7,
            (
                "the paper's FLOPs",
                f"{made.flops_by_paper:.1e}, its hours · 8 GPUs · {SUSTAINED / 1e12} TFLOPS assumed of a P100",
            ),
        )
    width = max(len(name) for name, _ in facts) + 2
    lines = [f"{name:{width}}{text}" for name, text in facts]
    return "\n".join([f"recipe {made.recipe}", *lines, "", *_gpu_table(made)])


def _gpu_table(made: "Plan") -> list[str]:
    first = made.gpus[0]
    title = (
        f"on {first.count} GPUs of a kind, if {first.utilisation:.0%} of the peak is reached (assumed: the paper's "
        f"times are 26 % and 37 % of its P100's peak), and {1000 * SECONDS_AN_UPDATE:.0f} ms an update at least:"
    )
    rows = [["", "time", "GB each", "of"]] + [
        [each.gpu.name, _time(each.hours), f"{each.memory.total / 1e9:.1f}", str(each.gpu.memory)] for each in made.gpus
    ]
    own = [f"the paper took {_time(each.paper_hours)} on its 8 P100" for each in made.gpus if each.paper_hours]
    return [title, *columns(rows), *own, *(f"{each.gpu.name}: {each.gpu.source}" for each in made.gpus)]


def _memory(memory: "Memory") -> str:
    return (
        f"{memory.total / 1e9:.2f} GB: weights, gradients and optimiser {memory.state / 1e9:.2f}, activations of "
        f"{memory.tokens_at_once:,} tokens at once {memory.activations / 1e9:.2f} (by formula, ±20 %); the framework's "
        "own comes on top"
    )


def _time(hours: float) -> str:
    amount, unit = (
        (hours, "hours") if hours >= 1 else (60 * hours, "minutes") if hours >= 1 / 60 else (3600 * hours, "s")
    )
    return f"{amount:,.0f} {unit}" if amount >= 100 else f"{amount:.2g} {unit}"
