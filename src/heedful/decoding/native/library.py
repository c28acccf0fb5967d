"""The translation engine's functions, from the C++ files beside this one."""

import ctypes
from ctypes import POINTER, c_bool, c_double, c_float, c_int, c_int32, c_int64, c_uint8, c_void_p
from functools import cache
from pathlib import Path

from heedful.native.compiler import Source, compiled


class Question(ctypes.Structure):
    """What a search is asked, as `search.h` has it."""

    _fields_ = (
        ("source", POINTER(c_int32)),
        ("source_starts", POINTER(c_int64)),
        ("prefixes", POINTER(c_int32)),
        ("prefix_starts", POINTER(c_int64)),
        ("max_lengths", POINTER(c_int32)),
        ("penalties", POINTER(c_double)),
        ("banned", POINTER(c_uint8)),
        ("sentences", c_int32),
        ("width", c_int32),
        ("n_best", c_int32),
        ("bos", c_int32),
        ("eos", c_int32),
        ("vocab", c_int32),
        ("most_sequences", c_int32),
        ("most_source_tokens", c_int32),
    )


@cache
def library() -> ctypes.CDLL | None:
    """None where the plain path has to be taken."""
    functions = {
        "heedful_model": (c_void_p, [POINTER(c_int32), POINTER(c_void_p), c_float, c_int]),
        "heedful_free_model": (None, [c_void_p]),
        "heedful_answer": (c_void_p, []),
        "heedful_free_answer": (None, [c_void_p]),
        "heedful_stop": (None, [c_void_p]),
        "heedful_search": (c_bool, [c_void_p, POINTER(Question), *[c_void_p] * 3, c_int, c_void_p]),
        "heedful_sizes": (c_int64, [c_void_p, POINTER(c_int32), POINTER(c_int64)]),
        "heedful_read": (None, [c_void_p] * 6),
        "heedful_product": (None, [c_void_p] * 4 + [c_int] * 4),
    }
    without = "translating takes the plain path, which is slower"
    return compiled(Source(Path(__file__).parent, "engine", "the translation engine", without, functions))
