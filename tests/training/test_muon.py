"""Muon: orthogonal updates of Adam's size, for the stacks' matrices alone; a checkpoint holds all of its state."""

from typing import Any

import pytest
import torch

from heedful import kernels
from heedful.kernels import cpu
from heedful.kernels.cpu.library import library
from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.training.config import TrainingConfig
from heedful.training.muon import Muon, newton_schulz
from heedful.training.optimizer import load_optimizer_tensors, make_optimizer, optimizer_tensors

TINY = TransformerConfig(layers=1, d_model=12, d_ff=24, heads=2)


@pytest.mark.parametrize("shape", [(3, 7, 7), (2, 5, 11), (2, 11, 5)])
def test_the_iteration_keeps_directions_and_levels_their_strengths(shape: tuple[int, int, int]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    result = newton_schulz(x)
    for before, after in zip(x, result, strict=True):
        u, strengths, vh = torch.linalg.svd(before, full_matrices=False)
        inner = u.T @ after @ vh.T  # diagonal, if the directions are kept
        assert (inner - inner.diagonal().diag()).abs().max() < 1e-3
        strong = strengths > strengths.max() / 100
        assert inner.diagonal()[strong].min() > 0.6
        assert inner.diagonal().max() < 1.3


@pytest.mark.skipif(library() is None or not cpu.multiplies(), reason="this CPU's products in bfloat16 are not ours")
@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 37, 77), (2, 77, 37), (4, 13, 45), (1, 1, 9), (2, 128, 256)])
def test_in_bfloat16_the_kernel_iterates_as_the_formula_does(
    shape: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).bfloat16()
    before, exact = x.clone(), newton_schulz(x.double())
    asked: list[Any] = []
    monkeypatch.setattr(cpu, "newton_schulz", lambda y, *rest, own=cpu.newton_schulz: asked.append(y) or own(y, *rest))
    result = newton_schulz(x)
    assert torch.equal(x, before)
    # numbers up to one are rounded to 8 bits, some times in each of five iterations
    torch.testing.assert_close(result.double(), exact, rtol=0, atol=2**-5)
    with kernels.plain():
        torch.testing.assert_close(result, newton_schulz(x), rtol=0, atol=2**-5)
    monkeypatch.setattr(cpu, "WIDEST", 8)
    newton_schulz(x)
    assert len(asked) == 1


def test_threads_change_nothing() -> None:
    x = torch.randn(5, 24, 40, generator=torch.Generator().manual_seed(1)).bfloat16()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = newton_schulz(x)
        torch.set_num_threads(3)
        assert torch.equal(newton_schulz(x), alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("rows", "columns"), [(12, 12), (36, 12), (12, 24)])
def test_blocks_of_a_stacked_matrix_are_maps_of_their_own(rows: int, columns: int) -> None:
    weight = torch.zeros(rows, columns, requires_grad=True)
    bias = torch.zeros(3, requires_grad=True)
    optimizer = Muon([weight], [bias], momentum=0.0, betas=(0.9, 0.98), eps=1e-9, weight_decay=0.0)
    optimizer.param_groups[0]["lr"] = 1.0
    weight.grad = torch.randn(rows, columns, generator=torch.Generator().manual_seed(2))
    optimizer.step()
    size = min(rows, columns)
    for row in range(0, rows, size):
        for column in range(0, columns, size):
            block = weight.grad[row : row + size, column : column + size]
            step = -weight.detach()[row : row + size, column : column + size]
            torch.testing.assert_close(step, newton_schulz(block[None])[0] * 0.2 * size**0.5, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "config", [TransformerConfig(layers=1, d_model=12, d_ff=24, heads=2), RecurrentConfig(d_model=8)]
)
def test_vocabulary_rows_and_vectors_are_left_to_adam(config: TransformerConfig | RecurrentConfig) -> None:
    model = build_model(config, 31, 31)
    optimizer = make_optimizer(model, TrainingConfig(optimizer="muon"))
    matrices = {id(p) for p in optimizer.param_groups[0]["params"]}
    for name, parameter in model.named_parameters():
        is_table = "tokens" in name or name.startswith("projection")
        assert (id(parameter) in matrices) == (parameter.ndim == 2 and not is_table), name


def test_its_state_survives_a_checkpoint() -> None:
    def steps(model: torch.nn.Module, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for number in numbers:
            for group in optimizer.param_groups:
                group["lr"] = 0.01
            for place, parameter in enumerate(model.parameters()):
                generator = torch.Generator().manual_seed(100 * number + place)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    config, training = TINY, TrainingConfig(optimizer="muon")
    whole, parted = build_model(config, 31, 31), build_model(config, 31, 31)
    parted.load_state_dict(whole.state_dict())
    first = make_optimizer(whole, training)
    steps(whole, first, range(4))
    second = make_optimizer(parted, training)
    steps(parted, second, range(2))
    third = make_optimizer(parted, training)
    load_optimizer_tensors(parted, third, {k: v.clone() for k, v in optimizer_tensors(parted, second).items()})
    steps(parted, third, range(2, 4))
    for ours, theirs in zip(whole.parameters(), parted.parameters(), strict=True):
        assert torch.equal(ours, theirs)
