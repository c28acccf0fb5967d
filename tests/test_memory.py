"""Freed memory is taken again without asking the system for pages."""

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys, torch
from heedful.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
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
