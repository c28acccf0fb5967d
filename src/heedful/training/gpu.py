"""Updates of a Transformer on one GPU: weights made narrow all at once, and small updates replayed as CUDA graphs.

A GPU computes a small model's update faster than Python asks for its thousand kernels. A graph repeats what was
recorded, for tensors of one shape at fixed places. So batches are padded to one of few shapes; the first of a shape is
computed as usual, with the second its graph is recorded, and from then on one call replays it
(https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs).
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.func import functional_call

from heedful.data.batches import Batch
from heedful.data.tokenizer import PAD
from heedful.model.norm import BatchNorm
from heedful.model.transformer import Transformer
from heedful.training.muon import Muon
from heedful.training.objective import Objective
from heedful.training.optimizer import vocabulary_rows

LARGEST_RECORDED = 4e12
"""FLOPs of an update above which a GPU has enough to do without graphs, whose memory would be much."""
_NO_TARGET = -1
_LEAST = 4
"""Lengths and numbers of sentences are rounded up to multiples of it at least."""


class GpuGradients:
    """Adds a batch's gradients to those of the parameters, which stay where they are from now on.

    In bfloat16 the stacks' weights are copied in one kernel; autocast would make each narrow by itself, and each
    gradient wide again. What vocabularies have stays float32 here as there.
    """

    def __init__(self, objective: Objective, narrow: bool, graphs: bool) -> None:
        """`narrow`: products and activations in bfloat16. `graphs`: small updates are recorded."""
        model = objective.model
        self._objective = objective
        self._graphs: dict[tuple[int | float, ...], _Graph | None] = {}
        self._autocast = narrow
        rows, named = vocabulary_rows(model), dict(objective.named_parameters())
        self._wide = {name: p for name, p in named.items() if narrow and id(p) not in rows}
        self._narrow = {name: p.detach().bfloat16().requires_grad_() for name, p in self._wide.items()}
        others = [p for name, p in named.items() if name not in self._wide]
        self._leaves = [*self._narrow.values(), *others]
        self._parameters = [*self._wide.values(), *others]
        self._weights = sum(parameter.numel() for parameter in self._parameters)
        self._recorder = _Recorder(model.device) if graphs and recordable(model) else None
        self._sums = [torch.zeros_like(parameter) for parameter in self._parameters]
        for parameter, gradient in zip(self._parameters, self._sums, strict=True):
            parameter.grad = gradient

    def __call__(self, batch: Batch, consistency: float, scale: float) -> Tensor:
        """Sums of the loss and of the negative log-likelihood `[2]`; the loss times `scale` is what is derived."""
        device = self._parameters[0].device
        if self._recorder is None or self._flops(batch) > LARGEST_RECORDED:
            return self._gradients(batch.to(device), consistency, scale, padded=False)
        batch = fitted(batch)
        key = (*batch.source.shape, batch.target_input.size(1), consistency)
        if key not in self._graphs:
            self._graphs[key] = None
            return self._gradients(batch.to(device), consistency, scale, padded=True)
        graph = self._graphs[key]
        if graph is None:
            own, scales = batch.to(device), torch.ones((), device=device)
            with self._recorder.record() as recorded:
                sums = self._gradients(own, consistency, scales, padded=True)
            self._graphs[key] = graph = _Graph(recorded, own, scales, sums, list(self._objective.buffers()))
        return graph.replay(batch, scale)

    def _gradients(self, batch: Batch, consistency: float, scale: Tensor | float, padded: bool) -> Tensor:
        if self._narrow:
            with torch.no_grad():
                torch._foreach_copy_(list(self._narrow.values()), list(self._wide.values()))
        with torch.autocast(batch.source.device.type, torch.bfloat16) if self._autocast else nullcontext():
            smoothed, likelihood = functional_call(self._objective, self._narrow, (batch, consistency, padded))
        # not backward(), whose sums run on the streams of the first call
        gradients = list(torch.autograd.grad(smoothed * scale, self._leaves, materialize_grads=True))
        if self._narrow:  # and not the others with them: of two precisions, each tensor would be copied by itself
            wide = [torch.empty_like(parameter) for parameter in self._wide.values()]
            torch._foreach_copy_(wide, gradients[: len(wide)])
            gradients[: len(wide)] = wide
        torch._foreach_add_(self._sums, gradients)
        return torch.stack((smoothed.detach(), likelihood))

    def _flops(self, batch: Batch) -> int:
        """Six for each weight and token, a source and a target token together being one."""
        tokens = (batch.source.numel() + batch.target_input.numel()) // 2
        return 6 * tokens * self._weights


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
    batch: Batch
    scale: Tensor
    sums: Tensor
    buffers: list[Tensor]
    """The model's, as they stood: a table that has grown since leaves its place to others, unless somebody holds it."""

    def replay(self, batch: Batch, scale: float) -> Tensor:
        for own, given in zip(self.batch.by_pair, batch.by_pair, strict=True):
            own.copy_(given, non_blocking=True)
        self.scale.fill_(scale)
        self.graph.replay()
        return self.sums.clone()  # the next graph may use the same memory


class _Recorder:
    """Graphs that share their memory, as one at a time is replayed."""

    def __init__(self, device: torch.device) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextmanager
    def record(self) -> Iterator[torch.cuda.CUDAGraph]:
        """What is asked for within goes into the graph; nothing is computed yet."""
        graph = torch.cuda.CUDAGraph()
        self._stream.wait_stream(torch.cuda.current_stream(self._stream.device))
        with torch.cuda.stream(self._stream):
            # not torch.cuda.graph: before every graph it gives all unused memory back
            graph.capture_begin(pool=self._pool)
            try:
                yield graph
            finally:
                graph.capture_end()
        torch.cuda.current_stream(self._stream.device).wait_stream(self._stream)


def recordable(model: torch.nn.Module) -> bool:
    """Whether nothing of the model's work is the CPU's, and sentences that `fitted` adds change nothing for others."""
    if not isinstance(model, Transformer) or model.deterministic_attention is not None:
        return False
    return not any(isinstance(module, BatchNorm) for module in model.modules())


def fitted(batch: Batch) -> Batch:
    """Padded so that few shapes are left; targets below 0 stand where there is nothing to predict.

    What is added at most is a quarter of a length and an eighth of the sentences; an added sentence has one token.
    """
    rows, source, target = len(batch.lines), batch.source.size(1), batch.target_input.size(1)
    more_rows = _rounded(rows, 8) - rows
    more_source, more_target = (_rounded(length, 4) - length for length in (source, target))

    def padded(tensor: Tensor, more: int, value: int | bool) -> Tensor:
        return torch.nn.functional.pad(tensor, (0, more, 0, more_rows), value=value)

    output = batch.target_output.masked_fill(~batch.target_mask, _NO_TARGET)
    source_mask = padded(batch.source_mask, more_source, False)
    source_mask[rows:, 0] = True  # attention has to have something to look at
    return replace(
        batch,
        source=padded(batch.source, more_source, PAD),
        source_mask=source_mask,
        target_input=padded(batch.target_input, more_target, PAD),
        target_output=padded(output, more_target, _NO_TARGET),
        target_mask=padded(batch.target_mask, more_target, False),
    )


def _rounded(number: int, parts: int) -> int:
    """Up to the next multiple of the power of two of which it has between `parts` and 2 · `parts`, or of `_LEAST`."""
    unit = max(_LEAST, 2 ** ((number // parts).bit_length() - 1) if number >= parts else 1)
    return -(-number // unit) * unit
