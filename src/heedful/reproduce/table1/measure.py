"""What a layer takes on this machine: time of a training step, and memory between its two passes."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.benchmark import Timer

from heedful import kernels
from heedful.reproduce.table1.layers import Layer, run


@dataclass(frozen=True)
class Measured:
    """Of sentences of n tokens, as many as make up the batch."""

    seconds: float
    """Forward and backward pass, gradients of input and weights included; the median of some runs."""
    bytes: int
    """Of the tensors that are there between the passes; the layer's weights and input do not count."""


def measure(layer: Layer, n: int, d: int, tokens: int, device: torch.device, seconds: float) -> Measured:
    """In batches of so many tokens, float32; repeated until the times agree, or for so many seconds at most.

    All by PyTorch's operators: our own kernels are for attention alone.
    """
    torch.manual_seed(0)
    module = layer.build(n, d).to(device)
    x = torch.randn(max(1, tokens // n), n, d, device=device, requires_grad=True)

    def step() -> None:
        torch.autograd.grad(run(module, x).sum(), (x, *module.parameters()))

    with kernels.plain():
        with _Held((x, *module.parameters())) as held:
            output = run(module, x)
            kept = held.bytes
        del output
        timer = Timer("step()", globals={"step": step}, num_threads=torch.get_num_threads())
        timer.timeit(1)  # kernels are chosen, memory is taken
        return Measured(timer.adaptive_autorange(min_run_time=seconds / 50, max_run_time=seconds).median, kept)


class _Held(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Bytes of the tensors that were made under it and are still there."""

    def __init__(self, own: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0
        self._known = {each.untyped_storage()._cdata for each in own}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for each in tree_leaves(result):
            if isinstance(each, Tensor):
                self._note(each.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        address, size = storage._cdata, storage.nbytes()
        if address not in self._known:
            self._known.add(address)
            self.bytes += size
            weakref.finalize(storage, self._forget, address, size)

    def _forget(self, address: int, size: int) -> None:
        self._known.discard(address)
        self.bytes -= size
