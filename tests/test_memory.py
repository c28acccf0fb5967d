"""Freed memory is taken again without asking the system for pages; kernels of past shapes do not pile up."""

import platform
import subprocess
import sys

import pytest
import torch

_PROGRAM = """
import resource, sys, torch
from heedful.memory import settle_memory
if sys.argv[1] == "keep":
    settle_memory()
for _ in range(20):
    torch.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_tensors_of_one_size_are_given_pages_once() -> None:
    faults = {
        way: int(subprocess.run([sys.executable, "-c", _PROGRAM, way], capture_output=True, text=True).stdout)
        for way in ("keep", "leave")
    }
    pages = 10 * 40_000_000 // 4096
    assert faults["leave"] > pages / 600  # at least one for every huge page, or the test shows nothing
    assert faults["keep"] < faults["leave"] / 10


_PRODUCTS = """
import sys, torch
from heedful.memory import settle_memory
if sys.argv[1] == "keep":
    settle_memory()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
weight = torch.ones(128, 128, dtype=torch.bfloat16)
for rows in range(100, 200):
    torch.ones(rows, 128, dtype=torch.bfloat16) @ weight
before = resident()
for rows in range(200, 800):
    torch.ones(rows, 128, dtype=torch.bfloat16) @ weight
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif(not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="no bfloat16 kernels on this processor")
def test_kernels_of_past_shapes_do_not_pile_up() -> None:
    grown = {
        way: int(subprocess.run([sys.executable, "-c", _PRODUCTS, way], capture_output=True, text=True).stdout)
        for way in ("keep", "leave")
    }
    assert grown["leave"] > 20e6  # or the test shows nothing
    assert grown["keep"] < 0.8 * grown["leave"]  # their code alone cannot be had back
