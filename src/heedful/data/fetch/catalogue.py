"""What can be fetched, as datasets.yaml describes it: addresses, checksums, and which file becomes which.

A data set is an entry of that file, never a branch in the code.
"""

import difflib
import functools
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from heedful.errors import HeedfulError

_FROZEN = ConfigDict(extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, config=_FROZEN)
class Archive:
    """One file as its publisher offers it."""

    url: str
    bytes: int | None = None
    """Size of the download, where it is known beforehand."""
    checksum: Annotated[str | None, Field(pattern=r"^(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})$")] = None
    cited: str | None = None
    """Where the checksum stands."""
    inside: str | None = None
    """The archive within this one that holds the members."""
    instead: str | None = None
    """Name of the archive that holds the same members, for when this one cannot be had."""


@dataclass(frozen=True, config=_FROZEN)
class Part:
    """Some pairs of a split: two files that keep step."""

    source: str
    """A member of `archive`; without one, an archive that is itself the file."""
    target: str
    archive: str | None = None
    format: Literal["text", "sgm", "ted"] = "text"
    every: int | None = None
    """Only each n-th pair."""
    except_every: int | None = None
    """All but each n-th pair."""

    @property
    def archives(self) -> tuple[str, ...]:
        """Names of what has to be there before it can be read."""
        return (self.archive,) if self.archive else (self.source, self.target)


@dataclass(frozen=True, config=_FROZEN)
class Dataset:
    """A parallel corpus; each split becomes the files SPLIT.SOURCE and SPLIT.TARGET, its parts one after another."""

    summary: str
    languages: tuple[str, str]
    licence: str
    home: str
    """The publisher's page."""
    recipe: str
    """A recipe of about its size."""
    valid: str
    """The split to validate on."""
    splits: dict[str, tuple[Part, ...]]
    name: str = ""

    @property
    def archives(self) -> tuple[str, ...]:
        """Names of all it is made from, each once, in the order of need."""
        return tuple(dict.fromkeys(name for parts in self.splits.values() for part in parts for name in part.archives))

    @property
    def download_bytes(self) -> int:
        """Of the archives whose size is known."""
        return sum(archive(name).bytes or 0 for name in self.archives)

    def files(self, split: str) -> tuple[str, str]:
        """Names of the source file and the target file."""
        return f"{split}.{self.languages[0]}", f"{split}.{self.languages[1]}"


def all_datasets() -> dict[str, Dataset]:
    """Every data set by name."""
    return _catalogue()[1]


def dataset(name: str) -> Dataset:
    """The data set of that name. Raises `HeedfulError` naming the nearest."""
    known = all_datasets()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1, 0.0)[0]
        raise HeedfulError(f"unknown data set {name}; the nearest is {near}, `heedful fetch` lists them all")
    return known[name]


def archive(name: str) -> Archive:
    """The archive that parts call by that name, which is also the name it is kept under."""
    return _catalogue()[0][name]


@functools.cache
def _catalogue() -> tuple[dict[str, Archive], dict[str, Dataset]]:
    text = resources.files("heedful.data.fetch").joinpath("datasets.yaml").read_text(encoding="utf-8")
    described = yaml.safe_load(text)
    archives = TypeAdapter(dict[str, Archive]).validate_python(described["archives"])
    named = {name: fields | {"name": name} for name, fields in described["datasets"].items()}
    return archives, TypeAdapter(dict[str, Dataset]).validate_python(named)
