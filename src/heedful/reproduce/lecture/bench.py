"""What every experiment is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from heedful.reproduce.lecture.finding import Finding
from heedful.reproduce.lecture.profile import Profile
from heedful.reproduce.lecture.tasks import Task, dates, given

Data = tuple[Path, str, str]
"""Directory of a corpus, source and target language."""


@dataclass(frozen=True)
class Bench:
    """Sizes, seeds, the machine, and where things are."""

    profile: Profile
    seeds: tuple[int, ...]
    device: torch.device
    output: Path
    """Directory of all that is made."""
    data: Data | None = None

    @property
    def models(self) -> Path:
        """Trainings of a profile stand beside those of another."""
        return self.output / "models" / self.profile.name

    def dates(self) -> Task:
        """The embedded corpus."""
        return dates(self.profile, self.output / "dates" / self.profile.name)

    def tasks(self) -> list[Task]:
        """Dates, and what the user gave."""
        own = [] if self.data is None else [given(self.profile, *self.data)]
        return [self.dates(), *own]

    @property
    def seed_names(self) -> str:
        """In a note."""
        return ", ".join(map(str, self.seeds))


@dataclass(frozen=True)
class Experiment:
    """One claim of the lecture and how it is looked at."""

    name: str
    claim: str
    make: Callable[[Bench], Finding]
