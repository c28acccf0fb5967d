"""Freed memory is taken again without asking the system for pages, and few compiled kernels are kept."""

import os
import platform
import subprocess
import sys

import pytest

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


def test_few_kernels_are_kept_unless_the_user_says_how_many() -> None:
    program = "import os, heedful.memory as m; m.settle_memory(); print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    for own, kept in ({}, "64"), ({"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "7"}, "7"):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ONEDNN")} | own
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
        assert done.stdout.strip() == kept
