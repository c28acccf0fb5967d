"""The functions of the C++ files beside this one."""

import ctypes
import sys
from ctypes import POINTER, c_bool, c_float, c_int, c_int32, c_int64, c_uint64, c_void_p
from functools import cache
from pathlib import Path

from heedful.native.compiler import Source, compiled


class Attention(ctypes.Structure):
    """What attention is asked, as `interface.cpp` has it."""

    _fields_ = (
        ("queries", c_int32),
        ("keys", c_int32),
        ("d_k", c_int32),
        ("d_v", c_int32),
        ("batch", c_int32),
        ("heads", c_int32),
        ("causal", c_int32),
        ("by_query", c_int32),
        ("seen", c_void_p),
        ("seen_sentence", c_int64),
        ("seen_query", c_int64),
        ("seen_key", c_int64),
        ("query_starts", c_void_p),
        ("key_starts", c_void_p),
    )


class Places(ctypes.Structure):
    """Where a tensor `[batch, heads, length, width]` stands; strides in numbers."""

    _fields_ = (("data", c_void_p), ("batch", c_int64), ("head", c_int64), ("row", c_int64))


class Factor(ctypes.Structure):
    """A factor of a product: number (index, inner) stands at `index * index_stride + inner * inner_stride`."""

    _fields_ = (("data", c_void_p), ("index_stride", c_int64), ("inner_stride", c_int64), ("narrow", c_int32))


class Result(ctypes.Structure):
    """What becomes of a product's sums."""

    _fields_ = (
        ("data", c_void_p),
        ("stride", c_int64),
        ("bias", c_void_p),
        ("narrow", c_int32),
        ("rectified", c_int32),
        ("added", c_int32),
    )


class Iteration(ctypes.Structure):
    """How matrices become orthogonal."""

    _fields_ = (
        ("rows", c_int32),
        ("columns", c_int32),
        ("steps", c_int32),
        ("a", c_float),
        ("b", c_float),
        ("c", c_float),
    )


@cache
def library() -> ctypes.CDLL | None:
    """None where PyTorch's own kernels have to do, as on macOS, whose compiler has no OpenMP."""
    if sys.platform == "darwin":
        return None
    rows = [c_void_p, c_int64]
    functions = {
        "heedful_cross_entropy": (c_bool, [*rows, *[c_void_p] * 3, c_int64, c_int, c_float, c_int, c_int]),
        "heedful_consistency": (c_bool, [*rows * 2, *[c_void_p] * 3, c_int64, c_int, c_float, c_float, c_int, c_int]),
        "heedful_attention": (c_bool, [POINTER(Attention), POINTER(Places), c_int, c_int]),
        "heedful_attention_backward": (c_bool, [POINTER(Attention), POINTER(Places), c_int, c_int]),
        "heedful_turn": (
            c_bool,
            [POINTER(Places), c_int64, c_int, c_int, c_int, c_void_p, c_void_p, c_int, c_int, c_int],
        ),
        "heedful_add_norm": (
            c_bool,
            [*rows * 2, c_void_p, c_void_p, c_uint64, c_int, c_float, c_int64, c_int, *[c_void_p] * 3, *[c_int] * 3],
        ),
        "heedful_add_norm_backward": (
            c_bool,
            [*rows * 3, c_void_p, c_uint64, c_int, c_int64, c_int, *[c_void_p] * 5, *[c_int] * 3],
        ),
        "heedful_add_dropout": (
            c_bool,
            [c_void_p, c_void_p, c_uint64, c_int, c_int64, c_int, c_void_p, *[c_int] * 4],
        ),
        "heedful_sums": (c_bool, [*rows, c_int64, c_int, c_void_p, c_int, c_int]),
        "heedful_multiplies": (c_bool, []),
        "heedful_words": (c_int64, [c_int64, c_int64]),
        "heedful_lay_out": (c_bool, [POINTER(Factor), c_int64, c_int64, c_void_p, c_int]),
        "heedful_product": (
            c_bool,
            [POINTER(Factor), c_void_p, POINTER(Result), c_int64, c_int64, c_int64, c_int],
        ),
        "heedful_newton_schulz": (c_bool, [POINTER(Iteration), c_void_p, c_int64, c_int]),
        "heedful_rectified": (c_bool, [c_void_p, c_void_p, c_int64, c_int, c_void_p, c_void_p, c_int, c_int]),
    }
    without = "training takes PyTorch's kernels, which are slower"
    source = Source(Path(__file__).parent, "kernels", "kernels for training", without, functions, ("-fopenmp",))
    return compiled(source)
