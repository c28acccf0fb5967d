"""A training by recipe `base`, for what the paper says of trainings: three updates of a small model."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import heedful
from tests.small import SMALL

_SIZES = ("layers", "d_model", "d_ff", "heads", "vocab_size", "batch_tokens", "threads", "seed")
_FIELDS = {name: SMALL[name] for name in _SIZES} | {
    "max_steps": 3,
    "validate_every": 1,
    "log_every": 1,
    "average_last": 2,
}


@dataclass(frozen=True)
class BaseRun:
    """Its directory, in which every update left a checkpoint."""

    directory: Path
    paths: tuple[Path, Path]
    """Its text."""

    def again(self, directory: Path, **changes: Any) -> "BaseRun":
        """The same with other fields."""
        heedful.train(recipe="base", train=self.paths, valid=self.paths, output=directory, **(_FIELDS | changes))
        return BaseRun(directory, self.paths)

    def updates(self) -> list[dict[str, Any]]:
        """What was written down of each."""
        records = map(json.loads, (self.directory / "metrics.jsonl").read_text().splitlines())
        return [record for record in records if "learning_rate" in record]


@pytest.fixture(scope="session")
def base_run(tmp_path_factory: pytest.TempPathFactory) -> BaseRun:
    """Of three updates, the last two of which are averaged."""
    directory = tmp_path_factory.mktemp("base")
    paths = directory / "text.en", directory / "text.de"
    for path, lines in zip(paths, ("a dog runs\na cat sleeps\n", "ein Hund rennt\neine Katze schläft\n"), strict=True):
        path.write_text(lines * 20)
    return BaseRun(directory, paths).again(directory / "run")
