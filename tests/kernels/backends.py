"""The kernels that a test asks."""

import torch

from heedful import kernels


def backend_of(like: torch.Tensor) -> kernels.Backend:
    """Those for such tensors, which there have to be."""
    backend = kernels.backend(like)
    assert backend is not None
    return backend
