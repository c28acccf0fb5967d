"""Section 5.2 and Table 2: steps, hours, and training FLOPs by both conventions."""

import pytest

from heedful.model.complexity import parameters, training_flops
from heedful.recipes.named import recipe
from heedful.recipes.paper import SUSTAINED, claimed_flops, hours

BATCH = 25_000
LENGTH = 27
"""Tokens of a WMT14 sentence, about; the count hardly depends on it."""


@pytest.mark.parametrize(
    ("name", "steps", "seconds_a_step", "days"), [("base", 100_000, 0.4, 0.5), ("big", 300_000, 1.0, 3.5)]
)
def test_steps_and_time_agree(name: str, steps: int, seconds_a_step: float, days: float) -> None:
    """The paper rounds: 100,000 · 0.4 s are 11.1 hours, 300,000 · 1.0 s are 3.47 days."""
    assert recipe(name).training.max_steps == steps
    taken = hours(recipe(name))
    assert taken == days * 24
    assert steps * seconds_a_step / 3600 == pytest.approx(taken, rel=0.08)


@pytest.mark.parametrize(("name", "claimed"), [("base", 3.3e18), ("big", 2.3e19)])
def test_the_paper_s_flops_are_time_times_gpus_times_an_assumed_speed(name: str, claimed: float) -> None:
    """Table 2, to its two digits."""
    taken = hours(recipe(name))
    assert taken is not None
    assert claimed_flops(taken, 8, SUSTAINED) == pytest.approx(claimed, rel=0.01)


@pytest.mark.parametrize(("name", "expected", "share"), [("base", 9.5e17, 0.29), ("big", 9.6e18, 0.42)])
def test_counted_they_are_a_third_of_that(name: str, expected: float, share: float) -> None:
    """The usual estimate, 6 FLOPs for each parameter and token, and the exact count of products, which adds attention
    over positions and leaves out what multiplies nothing."""
    model = recipe(name).model
    steps = recipe(name).training.max_steps
    estimate = 6 * parameters(model, 37_000, 37_000).total * BATCH * steps
    assert estimate == pytest.approx(expected, rel=0.01)
    counted = training_flops(model, 37_000, LENGTH, LENGTH) * BATCH / LENGTH * steps
    assert counted == pytest.approx(estimate, rel=0.02)
    taken = hours(recipe(name))
    assert counted / claimed_flops(taken) == pytest.approx(share, abs=0.01)
