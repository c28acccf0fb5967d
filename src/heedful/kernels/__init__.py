"""Kernels that compute what plain PyTorch does elsewhere in heedful, in fewer passes over memory.

Those for GPUs are written in Triton (`gpu`), those for CPUs in C++ (`cpu`); what autograd and the tensors' layout ask
for is the same for both and stands in the modules here.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

import torch
from torch import Tensor, nn

logger = logging.getLogger("heedful")

_plain = ContextVar("_plain", default=False)
_REAL = (Tensor, nn.Parameter)
"""Not those that stand for others while something is traced."""
_OLDEST = (8, 0)
"""Compute capability from which on Triton supports NVIDIA's GPUs."""


class Backend(Protocol):
    """The kernels of a kind of device; what they read is float32 or bfloat16, and sums are float32."""

    def fits(self, queries: int, keys: int, d_k: int, d_v: int, by_query: bool) -> bool:
        """Whether attention of these sizes is short enough for `attend`; `by_query` says that `seen` differs by it."""

    def attend(self, read: Sequence[Tensor], written: Tensor, seen: Any, causal: bool) -> None:
        """Equation 1 from query, key and value `[batch, heads, length, width]`; `seen`
        `[batch, query or 1, key]` is True where attention may look, or says where in a row sentences are."""

    def attend_backward(self, read: Sequence[Tensor], written: Sequence[Tensor], seen: Any, causal: bool) -> None:
        """Gradients of query, key and value from these three and the context's."""

    def add_norm(
        self, x: Tensor, output: Tensor, weight: Tensor, bias: Tensor, epsilon: float, seed: Tensor, dropped: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """LayerNorm(x + dropout(output)) `[rows, width]`; mean and inverse deviation of each row."""

    def add_norm_backward(
        self,
        read: tuple[Tensor, Tensor, Tensor],
        weight: Tensor,
        statistics: tuple[Tensor, Tensor],
        seed: Tensor,
        dropped: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Gradients of x and output from these two and the result's, and of weight over bias `[2, width]`."""

    def add_dropout(self, x: Tensor | None, output: Tensor, seed: Tensor, dropped: int, dtype: torch.dtype) -> Tensor:
        """dropout(output) `[rows, width]`, x added where there is one."""

    def rectified(self, grad: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient where hidden is positive, else 0, `[rows, width]`, and its sum over rows."""

    def cross_entropy_rows(self, logits: Tensor, target: Tensor, epsilon: float) -> tuple[Tensor, Tensor]:
        """The label-smoothed loss and the negative log-likelihood of every position; logits become ∂loss/∂logits.

        Shapes: logits `[positions, vocab]`, target `[positions]`, results `[positions]` float32. Targets below 0 count
        for nothing.
        """

    def consistency_rows(
        self, first: Tensor, second: Tensor, target: Tensor, epsilon: float, alpha: float
    ) -> tuple[Tensor, Tensor]:
        """`consistent_cross_entropy` of every position; both logits become its gradients. Shapes as above."""


def backend(*tensors: Tensor) -> Backend | None:
    """The kernels for such tensors, which are on one device; None where plain PyTorch has to do."""
    if _plain.get() or torch.compiler.is_compiling():
        return None
    if any(each.dtype not in (torch.float32, torch.bfloat16) or type(each) not in _REAL for each in tensors):
        return None
    like = tensors[0]
    if like.is_cuda and usable(like.device):
        from heedful.kernels import gpu

        return gpu
    if like.is_cpu:
        from heedful.kernels import cpu
        from heedful.kernels.cpu.library import library

        return cpu if library() is not None else None
    return None


@contextmanager
def plain() -> Iterator[None]:
    """Within, nothing takes a kernel: for whoever wants to see every product and everything autograd keeps."""
    before = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(before)


@cache
def usable(device: torch.device) -> bool:
    """On a GPU for which Triton compiles; on Linux, PyTorch for CUDA brings it along, but not the C compiler it calls.

    Where it is there and cannot compile, a warning says why.
    """
    if device.type != "cuda" or find_spec("triton") is None or torch.cuda.get_device_capability(device) < _OLDEST:
        return False
    try:
        _compile(device)
    except Exception as error:  # a compiler, Python's headers, a place to write to: each fails in its own way
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        logger.warning(f"kernels for this GPU could not be compiled ({reason}); PyTorch's, which are slower, are used")
        return False
    return True


def _compile(device: torch.device) -> None:
    from heedful.kernels.gpu.loss import cross_entropy_rows

    cross_entropy_rows(torch.zeros(1, 2, device=device), torch.zeros(1, dtype=torch.int64, device=device), 0.0)
