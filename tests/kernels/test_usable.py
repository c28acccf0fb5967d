"""Where kernels for GPUs are used: nowhere that Triton cannot compile them."""

import pytest
import torch

from heedful import kernels


@pytest.fixture(autouse=True)
def _forget() -> None:
    kernels.usable.cache_clear()


def _gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], compiles: bool) -> torch.device:
    def compile_for(_device: torch.device) -> None:
        if not compiles:
            raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(kernels, "find_spec", lambda _name: object())
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    monkeypatch.setattr(kernels, "_compile", compile_for)
    return torch.device("cuda", 0)


def test_not_on_a_cpu() -> None:
    assert not kernels.usable(torch.device("cpu"))


@pytest.mark.parametrize(("capability", "usable"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_on_gpus_that_triton_supports(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], usable: bool
) -> None:
    assert kernels.usable(_gpu(monkeypatch, capability, compiles=True)) is usable


def test_without_a_compiler_a_warning_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = _gpu(monkeypatch, (9, 0), compiles=False)
    assert not kernels.usable(device)
    assert not kernels.usable(device)
    [said] = caplog.messages  # once
    assert "Failed to find C compiler" in said
