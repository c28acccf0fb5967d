"""What a measurement was made on, in one line."""

import platform
from importlib.metadata import version
from pathlib import Path

import torch

from heedful.recipes.run import commit


def machine(device: torch.device) -> str:
    """Processor and threads or GPU, and versions."""
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
    else:
        threads = torch.get_num_threads()
        name = f"{processor()}, {threads} thread{'s' * (threads > 1)}"
    return f"{name}; torch {version('torch')}, heedful {version('heedful')} ({commit() or 'installed'})"


def processor() -> str:
    """Its name, as Linux knows it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
