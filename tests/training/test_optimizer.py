"""Schedules (Section 5.3), Adam, and the moving average."""

import pytest
import torch
from torch import nn

from heedful.training.config import TrainingConfig
from heedful.training.optimizer import (
    MovingAverage,
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
)


def test_the_papers_schedule() -> None:
    config = TrainingConfig()
    # equation (3) by hand: 512^-0.5 · min(s^-0.5, s · 4000^-1.5)
    assert learning_rate(config, 1, 512) == pytest.approx(512**-0.5 * 4000**-1.5)
    assert learning_rate(config, 4000, 512) == pytest.approx(6.987712e-4, rel=1e-6)
    assert learning_rate(config, 100_000, 512) == pytest.approx((512 * 100_000) ** -0.5)


def test_inverse_square_root_rises_to_its_peak_and_halves_at_four_times_the_warmup() -> None:
    config = TrainingConfig(schedule="inverse-sqrt", lr=5e-3, warmup_steps=200)
    assert learning_rate(config, 50, 128) == pytest.approx(5e-3 / 4)
    assert learning_rate(config, 200, 128) == pytest.approx(5e-3)
    assert learning_rate(config, 800, 128) == pytest.approx(2.5e-3)


def test_cosine_is_half_way_down_in_the_middle_and_ends_at_zero() -> None:
    config = TrainingConfig(schedule="cosine", lr=2e-3, warmup_steps=100, decay_steps=300)
    assert learning_rate(config, 100, 128) == pytest.approx(2e-3)
    assert learning_rate(config, 200, 128) == pytest.approx(1e-3)
    assert learning_rate(config, 300, 128) == pytest.approx(0.0, abs=1e-12)
    assert learning_rate(config, 999, 128) == pytest.approx(0.0, abs=1e-12)


def test_a_cosine_holds_its_peak_first() -> None:
    config = TrainingConfig(schedule="cosine", lr=2e-3, warmup_steps=100, decay_steps=500, hold=0.25)
    assert learning_rate(config, 50, 128) == pytest.approx(1e-3)
    assert [learning_rate(config, step, 128) for step in (100, 150, 200)] == [2e-3] * 3
    assert learning_rate(config, 350, 128) == pytest.approx(1e-3)
    assert learning_rate(config, 500, 128) == pytest.approx(0.0, abs=1e-12)


def test_adams_first_update_has_the_learning_rates_size() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.detach().clone()
    optimizer = make_optimizer(layer, TrainingConfig())
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    (layer.weight * torch.tensor([1.0, -2.0, 3.0])).sum().backward()
    layer.bias.grad = torch.zeros_like(layer.bias)
    optimizer.step()
    # bias-corrected moments are g and g², so the step is lr · sign(g)
    torch.testing.assert_close(before - layer.weight.detach(), 0.01 * torch.tensor([[1.0, -1.0, 1.0]] * 2))


def test_adams_moments_are_there_from_the_start_as_its_first_step_would_make_them() -> None:
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    other.load_state_dict(layer.state_dict())
    begun = make_optimizer(layer, TrainingConfig())
    fresh = torch.optim.Adam(other.parameters(), lr=0.0, betas=(0.9, 0.98), eps=1e-9, fused=True)
    places = [tensor.data_ptr() for state in begun.state.values() for tensor in state.values()]
    assert len(places) == 6
    for each, optimizer in ((layer, begun), (other, fresh)):
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        for _ in range(2):
            each(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
    assert places == [tensor.data_ptr() for state in begun.state.values() for tensor in state.values()]
    assert torch.equal(layer.weight, other.weight)
    for own, theirs in zip(begun.state.values(), fresh.state.values(), strict=True):
        torch.testing.assert_close(own, theirs, rtol=0, atol=0)


def test_only_matrices_decay() -> None:
    layer = nn.Linear(3, 2)
    before = {name: parameter.detach().clone() for name, parameter in layer.named_parameters()}
    optimizer = make_optimizer(layer, TrainingConfig(optimizer="adamw", weight_decay=0.5))
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    for parameter in layer.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    torch.testing.assert_close(layer.weight.detach(), before["weight"] * (1 - 0.1 * 0.5))
    torch.testing.assert_close(layer.bias.detach(), before["bias"])


def test_the_state_survives_a_file() -> None:
    def trained(steps: int, layer: nn.Linear, optimizer: torch.optim.Optimizer) -> None:
        for _ in range(steps):
            layer(torch.ones(1, 3)).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    config = TrainingConfig()
    torch.manual_seed(0)
    whole, first = nn.Linear(3, 2), nn.Linear(3, 2)
    first.load_state_dict(whole.state_dict())
    optimizers = [make_optimizer(layer, config) for layer in (whole, first)]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = 0.1
    trained(5, whole, optimizers[0])
    trained(2, first, optimizers[1])
    second = nn.Linear(3, 2)
    second.load_state_dict(first.state_dict())
    continued = make_optimizer(second, config)
    for group in continued.param_groups:
        group["lr"] = 0.1
    load_optimizer_tensors(second, continued, optimizer_tensors(first, optimizers[1]))
    trained(3, second, continued)
    assert torch.equal(second.weight, whole.weight)


def test_the_moving_average_follows_its_formula_and_swaps_back() -> None:
    weights = {"w": torch.tensor([1.0])}
    average = MovingAverage(weights, decay=0.9)
    weights["w"].fill_(2.0)
    average.update(weights, step=1)  # decay (1 + 1) / (10 + 1)
    expected = 2 / 11 * 1.0 + 9 / 11 * 2.0
    assert average.weights["w"].item() == pytest.approx(expected)
    average.update(weights, step=1000)  # the full decay by now
    expected = 0.9 * expected + 0.1 * 2.0
    average.swap(weights)
    assert weights["w"].item() == pytest.approx(expected)
    average.swap(weights)
    assert weights["w"].item() == 2.0
