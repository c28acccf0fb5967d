"""Kernels for GPUs, in Triton: each computes what plain PyTorch does elsewhere in heedful, in fewer passes."""

from functools import cache
from importlib.util import find_spec

import torch


def usable(device: torch.device) -> bool:
    """On a GPU, where Triton is installed; on Linux, PyTorch for CUDA brings it along."""
    return device.type == "cuda" and _installed()


@cache
def _installed() -> bool:
    return find_spec("triton") is not None
