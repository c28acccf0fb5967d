"""The C library's allocator, told to keep what a training step frees. Knows nothing of torch."""

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def keep_freed_memory() -> None:
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
