"""A corpus that every test may train on."""

from pathlib import Path
from typing import Any

import pytest

from heedful.data.dates import make_dates, write_dates


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`train` and `valid` of `heedful.train`: single dates in three languages."""
    directory = tmp_path_factory.mktemp("dates")
    paths: dict[str, Any] = {}
    for part, size in (("train", 90), ("valid", 7)):
        examples = make_dates(size, 1, "de,ko,en", "iso", "single", split=part)  # type: ignore[arg-type]
        paths[part] = tuple(str(path) for path in write_dates(examples, Path(directory / part)))
    return paths
