"""C++ files → a library for this processor, compiled on the first call on a machine and kept.

A compiler is never needed: without one, or where it fails, `compiled` says so once and gives None.
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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

logger = logging.getLogger("heedful")

SWITCH = "HEEDFUL_NATIVE"
"""The environment variable that says `off` to whoever wants the plain path."""
_SHARED = Path(__file__).parent
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
_TUNING = ("-mprefer-vector-width=512",)  # not every processor's compiler knows it
_compiling = threading.Lock()


@dataclass(frozen=True)
class Source:
    """What is compiled, and what is said of it."""

    directory: Path
    """Its `interface.cpp` and all headers beside it."""
    name: str
    """Of the library's file."""
    title: str
    """What a user knows it as."""
    without: str
    """What happens where it cannot be had."""
    functions: Mapping[str, tuple[Any, Any]]
    """Their names → the result's type, and the arguments'."""
    flags: Sequence[str] = ()
    """Of the compiler, besides those of all."""


def compiled(source: Source) -> ctypes.CDLL | None:
    """The library, compiled if it has to be, which takes some seconds."""
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false"):
        return None
    try:
        path = _cache() / f"{source.name}-{_key(source)}.so"
        with _compiling:  # whoever waited finds it compiled
            if not path.exists() and not _compile(source, path):
                return None
    except (OSError, RuntimeError) as error:  # no home directory, or one that may not be entered
        logger.warning(f"{source.title} has no place to be compiled to ({error}); {source.without}")
        return None
    try:
        return _declared(ctypes.CDLL(str(path)), source)
    except (OSError, AttributeError) as error:
        logger.warning(f"{path} cannot be used ({error}); {source.without}; delete the file to have it compiled again")
        return None


def _compile(source: Source, path: Path) -> bool:
    compilers = [found for name in (os.environ.get("CXX", "c++"), "g++", "clang++") if (found := shutil.which(name))]
    if not compilers:
        logger.warning(f"no C++ compiler was found; {source.without}")
        return False
    logger.warning(f"compiling {source.title} for this processor, once; this takes some seconds")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            built = Path(aside) / path.name
            files = (f"-I{_SHARED}", "-o", str(built), str(source.directory / "interface.cpp"))
            for compiler, tuning in product(dict.fromkeys(compilers), (_TUNING, ())):
                command = (compiler, *_FLAGS, *source.flags, *tuning, *files)
                done = subprocess.run(command, capture_output=True, text=True)
                if done.returncode == 0:
                    with built.open("rb") as file:
                        os.fsync(file.fileno())  # a name never stands for half a library
                    built.replace(path)
                    return True
        reason = next((line for line in done.stderr.splitlines() if "error" in line), f"exit code {done.returncode}")
    except OSError as error:
        reason = str(error)
    logger.warning(f"{source.title} could not be compiled ({reason}); {source.without}")
    return False


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "heedful"


def _key(source: Source) -> str:
    """Other files, another processor: another library."""
    files = [path for place in (_SHARED, source.directory) for end in ("*.h", "*.cpp") for path in place.glob(end)]
    parts = [path.read_bytes() for path in sorted(files)]
    flags = " ".join((*_FLAGS, *source.flags))
    return hashlib.sha256(b"\0".join([*parts, flags.encode(), _processor().encode()])).hexdigest()[:16]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.platform() + platform.processor()
    named = ("model name", "flags", "Features", "CPU part")
    return platform.machine() + "".join(sorted({line for line in lines if line.startswith(named)}))


def _declared(native: ctypes.CDLL, source: Source) -> ctypes.CDLL:
    for name, (result, arguments) in source.functions.items():
        function = getattr(native, name)
        function.restype, function.argtypes = result, arguments
    return native
