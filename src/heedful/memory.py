"""What a long training holds beside its tensors: freed memory, and compiled kernels. Knows nothing of torch."""

import ctypes
import os
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KERNELS = 64
"""About as many as the products of two batches need."""


def settle_memory() -> None:
    """Called before the first product of a training."""
    _keep_freed_memory()
    _keep_few_kernels()


def _keep_freed_memory() -> None:
    """Freed tensors stay with the process, for the next ones of their size.

    glibc gives every block of more than a few megabytes back to the system at once, and the system clears each
    page of the next one anew: on a small model that costs more than the arithmetic on it. Elsewhere than on
    glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # older releases refuse more than 32 MB; the second setting alone would be worse than none
    if mallopt is not None and (mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 1 << 25)):
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _keep_few_kernels() -> None:
    """A user's own setting stands.

    oneDNN compiles a kernel for every shape of a bfloat16 product and keeps 1,024 of them. Batches differ in shape, so
    that few are wanted again, but their small blocks stand scattered among the freed tensors' memory, which
    then holds no tensor of another size.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(_KERNELS))
