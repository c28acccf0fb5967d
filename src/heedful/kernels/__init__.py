"""Kernels for GPUs, in Triton: each computes what plain PyTorch does elsewhere in heedful, in fewer passes."""

import logging
from functools import cache
from importlib.util import find_spec

import torch

logger = logging.getLogger("heedful")

_OLDEST = (8, 0)
"""Compute capability from which on Triton supports NVIDIA's GPUs."""


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
    from heedful.kernels.loss import cross_entropy_rows

    cross_entropy_rows(torch.zeros(1, 2, device=device), torch.zeros(1, dtype=torch.int64, device=device), 0.0)
