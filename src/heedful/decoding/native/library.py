"""The C++ files beside this one, compiled for this processor when they are first wanted, and kept.

A compiler is never needed: without one, or where it fails, `library` says so once and gives None.
"""

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
import threading
from ctypes import POINTER, c_bool, c_double, c_float, c_int, c_int32, c_int64, c_uint8, c_void_p
from functools import cache
from pathlib import Path

logger = logging.getLogger("heedful")

SWITCH = "HEEDFUL_NATIVE"
"""The environment variable that says `off` to whoever wants the plain path."""
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
_TUNING = ("-mprefer-vector-width=512",)  # not every processor's compiler knows it
_compiling = threading.Lock()
_SLOWER = "translating takes the plain path, which is slower"


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
    """The engine's functions; compiled on the first call on this machine, which takes some seconds."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false"):
        return None
    try:
        path = _cache() / f"engine-{_key()}.so"
        with _compiling:  # whoever waited finds it compiled
            if not path.exists() and not _compile(path):
                return None
    except (OSError, RuntimeError) as error:  # no home directory, or one that may not be entered
        logger.warning(f"the translation engine has no place to be compiled to ({error}); {_SLOWER}")
        return None
    try:
        return _declared(ctypes.CDLL(str(path)))
    except (OSError, AttributeError) as error:
        logger.warning(f"{path} cannot be used ({error}); {_SLOWER}; delete the file to have it compiled again")
        return None


def _compile(path: Path) -> bool:
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++"))), None)
    if compiler is None:
        logger.warning(f"no C++ compiler was found; {_SLOWER}")
        return False
    logger.warning("compiling the translation engine for this processor, once; this takes some seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            built = Path(aside) / path.name
            source = str(Path(__file__).with_name("interface.cpp"))
            for flags in ((*_FLAGS, *_TUNING), _FLAGS):
                done = subprocess.run([compiler, *flags, "-o", str(built), source], capture_output=True, text=True)
                if done.returncode == 0:
                    with built.open("rb") as file:
                        os.fsync(file.fileno())  # a name never stands for half a library
                    built.replace(path)
                    return True
        reason = next((line for line in done.stderr.splitlines() if "error" in line), f"exit code {done.returncode}")
    except OSError as error:
        reason = str(error)
    logger.warning(f"the translation engine could not be compiled ({reason}); {_SLOWER}")
    return False


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heedful"


def _key() -> str:
    """Other files, another processor: another library."""
    here = Path(__file__).parent
    parts = [path.read_bytes() for path in sorted([*here.glob("*.h"), *here.glob("*.cpp")])]
    return hashlib.sha256(b"\0".join([*parts, " ".join(_FLAGS).encode(), _processor().encode()])).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    named = ("model name", "flags", "Features", "CPU part")
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(named)}))


def _declared(native: ctypes.CDLL) -> ctypes.CDLL:
    signatures = {
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
    for name, (result, arguments) in signatures.items():
        function = getattr(native, name)
        function.restype, function.argtypes = result, arguments
    return native
