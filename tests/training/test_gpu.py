"""Updates on a GPU, which are computed on packed batches and replayed as graphs, against plain ones."""

import copy
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch

import heedful
from heedful import checkpoint
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.positions import SinusoidTable
from heedful.training import gpu
from heedful.training.config import TrainingConfig
from heedful.training.gpu import GpuGradients, RecordedStep, recordable
from heedful.training.objective import Objective
from heedful.training.optimizer import make_optimizer
from heedful.training.trainer import Trainer
from tests.marks import compiled
from tests.small import SMALL
from tests.training.random_batch import VOCAB, random_batch

CONFIG = TransformerConfig(layers=2, d_model=16, d_ff=32, heads=2, dropout=0.0)


def _objective(device: str = "cpu") -> Objective:
    torch.manual_seed(1)
    return Objective(build_model(CONFIG, VOCAB, VOCAB).to(device).train(), 0.1)


@pytest.mark.parametrize("consistency", [0.0, 3.0])
def test_weights_made_narrow_at_once_give_what_autocast_gives(consistency: float) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    objective, batch = _objective(device), random_batch(13, 9)
    exact = torch.autograd.grad(objective(batch.to(device), consistency)[0] * 0.5, list(objective.parameters()))
    twin = copy.deepcopy(objective)
    with torch.autocast(device, torch.bfloat16):
        plain = twin(batch.to(device), consistency)
    autocast = torch.autograd.grad(plain[0] * 0.5, list(twin.parameters()))
    narrow = GpuGradients(objective, narrow=True, graphs=False)
    for number in (1, 2):  # what stands at the parameters is added to
        torch.testing.assert_close(narrow(narrow.prepare(batch), consistency, 0.5), torch.stack(plain))
        for parameter, right, near in zip(objective.parameters(), exact, autocast, strict=True):
            assert parameter.grad is not None
            error = (parameter.grad / number - right).norm()
            assert error <= 1.5 * (near - right).norm() + 1e-3
            assert error <= 0.2 * right.norm() + 0.05


def test_gradients_that_stay_where_they_are_train_as_others_do(
    corpus: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = SMALL | {"device": "cpu", "accumulate": 2, "device_tokens": 150, "subword_sampling": 0.1}

    def weights(name: str, *stops: int) -> dict[str, torch.Tensor]:
        for stop in stops:
            heedful.train(**corpus, output=tmp_path / name, max_steps=stop, **fields)
        return checkpoint.load_tensors(tmp_path / name, checkpoint.trained_checkpoints(tmp_path / name)[-1])

    wanted, usual, ahead = weights("usual", 4), Trainer.__init__, False

    def as_on_a_gpu(self: Trainer, *arguments: Any) -> None:
        usual(self, *arguments)
        assert isinstance(self.objective, Objective)
        self._gpu, self._makes_ahead = GpuGradients(self.objective, narrow=False, graphs=False), ahead

    monkeypatch.setattr(Trainer, "__init__", as_on_a_gpu)
    torch.testing.assert_close(weights("in-place", 4), wanted)
    in_place = weights("in-place", 12)
    ahead, taken = True, []
    take = Trainer._taken_ahead
    monkeypatch.setattr(Trainer, "_taken_ahead", lambda self, group: taken.append(take(self, group)) or taken[-1])
    for name, stops in (("ahead", (12,)), ("resumed", (5, 12))):
        made = weights(name, *stops)
        assert all(torch.equal(tensor, in_place[key]) for key, tensor in made.items())
    assert sum(each is not None for each in taken) > 12


def test_batch_norm_which_would_see_added_sentences_is_not_recorded() -> None:
    assert recordable(build_model(CONFIG, VOCAB, VOCAB))
    assert not recordable(build_model(replace(CONFIG, norm="batch"), VOCAB, VOCAB))


class _NoGraph:
    def replay(self) -> None:
        pass


class _NoRecorder:
    def __init__(self, device: torch.device) -> None:
        self.room = True

    def has_room(self) -> bool:
        return self.room

    @contextmanager
    def watched(self) -> Iterator[None]:
        yield

    @contextmanager
    def record(self) -> Iterator[_NoGraph]:
        yield _NoGraph()


@compiled
@pytest.mark.parametrize("positions", ["sinusoidal", "rotary"])
def test_a_graph_keeps_the_table_that_it_reads(positions: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_Recorder", _NoRecorder)
    objective = Objective(build_model(replace(CONFIG, positions=positions), VOCAB, VOCAB), 0.1)
    gradients = GpuGradients(objective, narrow=False, graphs=True)
    table = next(module for module in objective.modules() if isinstance(module, SinusoidTable))
    read = weakref.ref(table.table)
    for longest in (9, 9, 600):  # as usual, recorded, with a table that has grown
        gradients(gradients.prepare(random_batch(5, longest)), 0.0, 1.0)
        gradients.clear()
    assert len(table.table) > 256
    assert read() is not None


@compiled
def test_without_room_for_its_memory_a_graph_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_Recorder", _NoRecorder)
    gradients = GpuGradients(_objective(), narrow=False, graphs=True)
    recorder = gradients._recorder
    assert isinstance(recorder, _NoRecorder)
    recorder.room = False
    batch = gradients.prepare(random_batch(5, 9))
    for room in (False, False, False, True):
        recorder.room = room
        assert not any(gradients._graphs.values())
        gradients(batch, 0.0, 1.0)
        gradients.clear()
    assert all(gradients._graphs.values())


@compiled
def test_where_graphs_leave_too_little_memory_they_go(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpu, "_Recorder", _NoRecorder)
    gradients = GpuGradients(_objective(), narrow=False, graphs=True)
    small, large = (gradients.prepare(random_batch(rows, 9)) for rows in (5, 60))
    for _ in range(2):
        gradients(small, 0.0, 1.0)
        gradients.clear()
    assert any(gradients._graphs.values())
    compute = gradients._gradients

    def too_large(*arguments: Any) -> torch.Tensor:
        if gradients._graphs:
            raise torch.OutOfMemoryError
        return compute(*arguments)

    monkeypatch.setattr(gradients, "_gradients", too_large)
    sums = gradients(large, 0.0, 1.0)
    assert "without them" in caplog.text
    twin = _objective()
    wanted = twin(random_batch(60, 9))
    torch.testing.assert_close(sums, torch.stack(wanted))
    found = [parameter.grad for parameter in gradients._objective.parameters()]
    torch.testing.assert_close(
        found, list(torch.autograd.grad(wanted[0], list(twin.parameters()))), rtol=1e-4, atol=1e-4
    )
    monkeypatch.setattr(gradients, "_gradients", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(torch.OutOfMemoryError):
        gradients(large, 0.0, 1.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("consistency", [0.0, 3.0])
def test_a_graph_gives_what_plain_autograd_gives(consistency: float) -> None:
    objective = _objective("cuda")
    parameters = list(objective.parameters())
    graphed = GpuGradients(objective, narrow=False, graphs=True)
    for number in range(8):  # as usual, recorded, replayed with other tokens; twice, which is added up
        batch = random_batch(10, 9, seed=number // 2)
        sums = graphed(graphed.prepare(batch), consistency, 0.5 if number % 2 else 0.0)
        if number % 2 == 0:
            continue
        graphed.clear()
        found = [parameter.grad.clone() for parameter in parameters if parameter.grad is not None]
        twin = copy.deepcopy(objective)
        plain = twin(batch.to("cuda"), consistency)
        torch.testing.assert_close(sums, torch.stack(plain))
        wanted = torch.autograd.grad(plain[0] * 0.5, list(twin.parameters()))
        torch.testing.assert_close(found, list(wanted), rtol=1e-3, atol=1e-3)
    assert len(graphed._graphs) == 2  # all batches have one shape
    assert all(graphed._graphs.values())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_recorded_step_does_what_the_step_does(optimizer: Literal["adam", "muon"]) -> None:
    config = TrainingConfig(optimizer=optimizer, beta2=0.9)
    models = [_objective("cuda").model for _ in range(2)]
    plain, graphed = (make_optimizer(model, config) for model in models)
    step = RecordedStep(graphed, models[0].device)
    gradients = [[torch.zeros_like(parameter) for parameter in model.parameters()] for model in models]
    for model, own in zip(models, gradients, strict=True):
        for parameter, gradient in zip(model.parameters(), own, strict=True):
            parameter.grad = gradient
    for number in range(4):
        for first, second in zip(*gradients, strict=True):
            second.copy_(first.normal_())
        for group in plain.param_groups:
            group["lr"] = 0.1 * (number + 1)
        plain.step()
        step(0.1 * (number + 1))
        for first, second in zip(*(model.parameters() for model in models), strict=True):
            torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)
