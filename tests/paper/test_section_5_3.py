"""Section 5.3: Adam with β1 = 0.9, β2 = 0.98, ε = 1e-9, and the rate that rises for 4,000 steps, then falls."""

import pytest
import torch
from torch import nn

from heedful.recipes.named import recipe
from heedful.training.config import TrainingConfig
from heedful.training.optimizer import learning_rate, make_optimizer
from tests.paper.conftest import BaseRun

PAPER = recipe("base").training


@pytest.mark.parametrize(
    ("d_model", "step", "rate"),
    [
        # d_model^-0.5 · min(step^-0.5, step · 4000^-1.5), by hand
        (512, 1, 1.746928e-07),
        (512, 4000, 6.987712e-04),
        (512, 100_000, 1.397542e-04),
        (1024, 1, 1.235265e-07),
        (1024, 4000, 4.941059e-04),
        (1024, 100_000, 9.882118e-05),
        (1024, 300_000, 5.705444e-05),
    ],
)
def test_equation_3(d_model: int, step: int, rate: float) -> None:
    assert learning_rate(PAPER, step, d_model) == pytest.approx(rate, rel=1e-6)


def test_the_rate_rises_by_equal_parts_to_its_peak_then_falls_with_the_root_of_the_step() -> None:
    rates = [learning_rate(PAPER, step, 512) for step in range(1, 16_001)]
    assert max(rates) == rates[3999]
    for step in (2, 1000, 3999):
        assert rates[step - 1] == pytest.approx(step * rates[0])
    assert rates[15_999] == pytest.approx(rates[3999] / 2)
    assert rates[3999:] == sorted(rates[3999:], reverse=True)


def test_training_takes_equation_3_from_step_1_on(base_run: BaseRun) -> None:
    rates = [record["learning_rate"] for record in base_run.updates()]
    assert rates == pytest.approx([16**-0.5 * step * 4000**-1.5 for step in (1, 2, 3)])


def test_adam_by_hand() -> None:
    """Kingma & Ba 2015, algorithm 1, with the paper's constants, for gradients that a large ε would drown."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2, bias=False)
    weight = layer.weight.detach().double().clone()
    optimizer = make_optimizer(layer, TrainingConfig())
    m = v = torch.zeros_like(weight)
    for step in range(1, 6):
        gradient = torch.randn(2, 3) * 10.0 ** -(step % 3 * 4)
        rate = 0.01 / step
        layer.weight.grad = gradient.clone()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        m = 0.9 * m + 0.1 * gradient.double()
        v = 0.98 * v + 0.02 * gradient.double() ** 2
        weight -= rate * (m / (1 - 0.9**step)) / ((v / (1 - 0.98**step)).sqrt() + 1e-9)
        torch.testing.assert_close(layer.weight.detach().double(), weight, rtol=1e-5, atol=1e-7)


def test_epsilon_is_the_paper_s() -> None:
    """Where the gradient is as small as ε, the first step is half the rate."""
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.zero_()
    optimizer = make_optimizer(layer, TrainingConfig())
    optimizer.param_groups[0]["lr"] = 1.0
    layer.weight.grad = torch.full((1, 1), 1e-9)
    optimizer.step()
    assert layer.weight.item() == pytest.approx(-0.5, rel=1e-3)
