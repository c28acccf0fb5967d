"""C++ is compiled where it can be; where it cannot, that is said once and is no error."""

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from heedful.decoding.native.library import library as engine
from heedful.kernels.cpu.library import library as kernels
from heedful.native.compiler import SWITCH

SAID = {
    engine: "translating takes the plain path, which is slower",
    kernels: "training takes PyTorch's kernels, which are slower",
}


@pytest.fixture(params=list(SAID), ids=["engine", "kernels"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Any]]:
    """Forgets what it found, before and after."""
    monkeypatch.setattr(logging.getLogger("heedful"), "propagate", True)
    request.param.cache_clear()
    yield request.param
    monkeypatch.undo()
    request.param.cache_clear()


def test_no_compiler_is_said_once_and_is_no_error(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert library() is None
    assert library() is None
    assert caplog.messages == [f"no C++ compiler was found; {SAID[library]}"]
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1: error: no such header' >&2\nexit 1\n")
    broken.chmod(0o755)
    library.cache_clear()
    assert library() is None
    assert "x.cpp:1: error: no such header" in caplog.messages[-1]
    assert caplog.messages[-1].endswith(SAID[library])
    monkeypatch.setenv(SWITCH, "off")
    library.cache_clear()
    assert library() is None
    assert len(caplog.messages) == 3


def test_nowhere_to_compile_to_is_no_error(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert library() is None
    assert caplog.messages[-1].endswith(SAID[library])


def test_what_cannot_be_loaded_is_said_with_the_remedy(
    library: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A library of another machine, say."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    compiler = tmp_path / "bin" / "c++"
    compiler.parent.mkdir()
    compiler.write_text('#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\necho nonsense > "$2"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("PATH", f"{compiler.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CXX", raising=False)
    assert library() is None
    assert "delete the file to have it compiled again" in caplog.messages[-1]
