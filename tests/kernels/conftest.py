"""Every kernel on both kinds of device: C++ on the CPU, Triton on a GPU or, without one, through its interpreter."""

import pytest
import torch

from heedful import kernels
from heedful.kernels.cpu.library import library


@pytest.fixture(params=["cpu", "gpu"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where tensors have to be for the kernels."""
    if request.param == "cpu":
        if library() is None:
            pytest.skip("no C++ compiler here, so no kernels for CPUs")
        return "cpu"
    pytest.importorskip("triton", reason="Triton is for Linux")
    from heedful.kernels import gpu

    monkeypatch.setattr(kernels, "backend", lambda *_tensors: gpu)
    return "cuda" if torch.cuda.is_available() else "cpu"
