"""A corpus that every test may train on."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from heedful.data.dates import make_dates, write_dates

if not torch.cuda.is_available():  # Triton asks when it is imported, by whomever
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`train` and `valid` of `heedful.train`: single dates in three languages."""
    directory = tmp_path_factory.mktemp("dates")
    paths: dict[str, Any] = {}
    for part, size in (("train", 90), ("valid", 7)):
        examples = make_dates(size, 1, "de,ko,en", "iso", "single", split=part)  # type: ignore[arg-type]
        paths[part] = tuple(str(path) for path in write_dates(examples, Path(directory / part)))
    return paths
