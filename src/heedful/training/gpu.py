"""Updates of a Transformer on one GPU: weights made narrow all at once, sentences in a row, and CUDA graphs.

A GPU computes a small model's update faster than Python asks for its thousand kernels. A graph repeats what was
recorded, for tensors of one shape at fixed places. So packed batches are fitted to one of few shapes; the first of a
shape is computed as usual, with the second its graph is recorded, and from then on one call replays it
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor
from torch.func import functional_call

from heedful.data.batches import Batch
from heedful.model.norm import BatchNorm
from heedful.model.transformer import Transformer
from heedful.training.muon import Muon
from heedful.training.objective import Objective
from heedful.training.optimizer import vocabulary_rows
from heedful.training.packed import PackedBatch, Shape

logger = logging.getLogger("heedful")

_SPARE = 1 << 30
"""Bytes that are left free where graphs are recorded."""


class GpuGradients:
    """Adds a batch's gradients to those of the parameters, which stay where they are from now on.

    In bfloat16 the stacks' weights are copied in one kernel; autocast would make each narrow by itself, and each
    gradient wide again. What vocabularies have stays float32 here as there.
    """

    def __init__(self, objective: Objective, narrow: bool, graphs: bool) -> None:
        """`narrow`: products and activations in bfloat16. `graphs`: updates are recorded, where there is memory."""
        model = objective.model
        self._objective, self._device = objective, model.device
        self._graphs: dict[tuple[Shape, float, bool], _Graph | None] = {}
        self._empty = True
        self._autocast = narrow
        rows, named = vocabulary_rows(model), dict(objective.named_parameters())
        self._wide = {name: p for name, p in named.items() if narrow and id(p) not in rows}
        self._narrow = {name: p.detach().bfloat16().requires_grad_() for name, p in self._wide.items()}
        others = [p for name, p in named.items() if name not in self._wide]
        self._leaves = [*self._narrow.values(), *others]
        self._parameters = [*self._wide.values(), *others]
        self._recorder = _Recorder(self._device) if graphs and recordable(model) else None
        self._sums = [torch.empty_like(parameter) for parameter in self._parameters]
        for parameter, gradient in zip(self._parameters, self._sums, strict=True):
            parameter.grad = gradient

    def prepare(self, batch: Batch) -> Batch | PackedBatch:
        """What is the CPU's work, and can be done ahead: the batch packed, where the model allows it."""
        model = self._objective.model
        if not _packable(model) or not model.packs(batch.source.size(1), batch.target_input.size(1)):
            return batch
        packed = PackedBatch.of(batch)
        packed = packed if self._recorder is None else packed.fitted()
        return packed.pinned() if self._device.type == "cuda" else packed

    def __call__(self, batch: Batch | PackedBatch, consistency: float, scale: float) -> Tensor:
        """Sums of the loss and of the negative log-likelihood `[2]` of a prepared batch; the loss times `scale` is what
        is derived."""
        first, self._empty = self._empty, False
        try:
            return self._computed(batch, consistency, scale, first)
        except torch.OutOfMemoryError:
            if not any(self._graphs.values()):
                raise
        logger.warning("CUDA graphs left too little memory; training goes on without them")
        self._graphs, self._recorder = {}, None
        torch.cuda.empty_cache()
        return self._computed(batch, consistency, scale, first)

    def clear(self) -> None:
        """The next batch's gradients take the place of all before."""
        self._empty = True

    def _computed(self, batch: Batch | PackedBatch, consistency: float, scale: float, first: bool) -> Tensor:
        if self._recorder is None or isinstance(batch, Batch):
            return self._gradients(batch.to(self._device), consistency, scale, first)
        key = batch.shape, consistency, first
        graph = self._graphs.get(key)
        if graph is not None:
            return graph.replay(batch, scale)
        if key not in self._graphs or not self._recorder.has_room():
            self._graphs[key] = None
            with self._recorder.watched():
                return self._gradients(batch.to(self._device), consistency, scale, first)
        own, scales = batch.to(self._device), torch.ones((), device=self._device)
        with self._recorder.record() as recorded:
            sums = self._gradients(own, consistency, scales, first)
        self._graphs[key] = graph = _Graph(recorded, own, scales, sums, list(self._objective.buffers()))
        return graph.replay(batch, scale)

    def _gradients(self, batch: Batch | PackedBatch, consistency: float, scale: Tensor | float, first: bool) -> Tensor:
        if self._narrow:
            with torch.no_grad():
                torch._foreach_copy_(list(self._narrow.values()), list(self._wide.values()))
        with torch.autocast(batch.source.device.type, torch.bfloat16) if self._autocast else nullcontext():
            smoothed, likelihood = functional_call(self._objective, self._narrow, (batch, consistency))
        # not backward(), whose sums run on the streams of the first call
        gradients = torch.autograd.grad(smoothed * scale, self._leaves, materialize_grads=True)
        new = self._sums if first else [torch.empty_like(each) for each in self._sums]
        count = len(self._wide)  # not all at once: of two precisions, each tensor would be copied by itself
        for part in (slice(count), slice(count, None)):
            if new[part]:
                torch._foreach_copy_(new[part], gradients[part])
        if not first:
            torch._foreach_add_(self._sums, new)
        return torch.stack((smoothed.detach(), likelihood))


class RecordedStep:
    """An optimiser's step as a graph. Its learning rate becomes a tensor, which is filled anew for every step."""

    def __init__(self, optimizer: torch.optim.Optimizer, device: torch.device) -> None:
        self._optimizer, self._rate = optimizer, torch.zeros((), device=device)
        adam = optimizer.adam if isinstance(optimizer, Muon) else optimizer
        for group in (*optimizer.param_groups, *adam.param_groups):
            group.update(lr=self._rate, capturable=True)
        self._recorder = _Recorder(device)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._started = False

    def __call__(self, rate: float) -> None:
        """One step; the first one loads the kernels, the second one is recorded."""
        self._rate.fill_(rate)
        if not self._started:
            self._started = True
            self._optimizer.step()
            return
        if self._graph is None:
            with self._recorder.record() as self._graph:
                self._optimizer.step()
        self._graph.replay()


@dataclass(frozen=True)
class _Graph:
    """A recorded computation, what it reads, and what it leaves beside the gradients."""

    graph: torch.cuda.CUDAGraph
    batch: PackedBatch
    scale: Tensor
    sums: Tensor
    buffers: list[Tensor]
    """The model's, as they stood: a table that has grown since leaves its place to others, unless somebody holds it."""

    def replay(self, batch: PackedBatch, scale: float) -> Tensor:
        self.batch.numbers.copy_(batch.numbers, non_blocking=True)
        self.scale.fill_(scale)
        self.graph.replay()
        return self.sums.clone()  # the next graph may use the same memory


class _Recorder:
    """Graphs that share their memory, as one at a time is replayed."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._taken = self._held = 0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What is computed within needs as much memory as its graph will."""
        before = torch.cuda.memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        yield
        self._taken = max(self._taken, torch.cuda.max_memory_allocated(self._device) - before)

    def has_room(self) -> bool:
        """Whether there is as much memory as any such computation has taken, what graphs hold already included."""
        return torch.cuda.mem_get_info(self._device)[0] > max(0, self._taken - self._held) + _SPARE

    @contextmanager
    def record(self) -> Iterator[torch.cuda.CUDAGraph]:
        """What is asked for within goes into the graph; nothing is computed yet."""
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.memory_reserved(self._device)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            # not torch.cuda.graph: before every graph it gives all unused memory back
            graph.capture_begin(pool=self._pool)
            try:
                yield graph
            finally:
                graph.capture_end()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)
        self._held += torch.cuda.memory_reserved(self._device) - before


def _packable(model: torch.nn.Module) -> TypeGuard[Transformer]:
    """Whether it computes sentences in a row that are made on the CPU, with nothing of its work the CPU's."""
    return isinstance(model, Transformer) and model.deterministic_attention is None


def recordable(model: torch.nn.Module) -> bool:
    """Whether sentences that are added change nothing for others."""
    return _packable(model) and not any(isinstance(module, BatchNorm) for module in model.modules())
