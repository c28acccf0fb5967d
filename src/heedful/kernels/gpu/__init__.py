"""Kernels for GPUs, in Triton."""

from heedful.kernels.gpu.attention import attend, attend_backward, fits
from heedful.kernels.gpu.feed_forward import rectified
from heedful.kernels.gpu.loss import consistency_rows, cross_entropy_rows
from heedful.kernels.gpu.residual import add_dropout, add_norm, add_norm_backward

__all__ = [
    "add_dropout",
    "add_norm",
    "add_norm_backward",
    "attend",
    "attend_backward",
    "consistency_rows",
    "cross_entropy_rows",
    "fits",
    "rectified",
]
