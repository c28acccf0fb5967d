"""Pairs of a line in a locale and its right answer, drawn from a seed: the embedded corpus.

Knows how to sample dates, not how they are written.
"""

import hashlib
import os
import random
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Literal, NamedTuple, get_args
from zlib import crc32

import babel

from heedful.data.dates.ambiguity import clear_forms
from heedful.data.dates.forms import YEARS, Content, Form, Kind, target_writer
from heedful.data.dates.locales import ISO, parse_sources, parse_targets
from heedful.errors import HeedfulError

Split = Literal["all", "train", "valid", "test"]

KINDS: tuple[Kind, ...] = get_args(Kind)

LIST_LENGTHS = (2, 5)

LONGEST = 150
"""Characters that lists keep to, their tag not counted."""

_TRIES = 200
"""Draws in a row of lines that are there already, after which a corpus counts as exhausted."""


@dataclass(frozen=True, slots=True)
class Example:
    """A line, its right answer, and where both come from."""

    source: str
    target: str
    locale: str
    """Of the source."""
    target_locale: str
    """Or "iso"."""
    kind: Kind
    values: tuple[date, ...]
    """In the order of the line; datetimes where it has times, zero seconds where it has none of these."""

    @property
    def dates(self) -> tuple[date, ...]:
        """The calendar dates that occur in the line, those of an interval being its ends."""
        return tuple(date(value.year, value.month, value.day) for value in self.values)


class Splits(NamedTuple):
    """Three corpora; no calendar date of one occurs in another."""

    train: list[Example]
    valid: list[Example]
    test: list[Example]


def parse_kinds(names: str | Sequence[str]) -> tuple[Kind, ...]:
    """Kinds from "single,list" or a sequence of names; each once, in order.

    Raises:
        HeedfulError: an unknown kind, or none at all.
    """
    parts = names.split(",") if isinstance(names, str) else names
    wanted = list(dict.fromkeys(part.strip() for part in parts if part.strip()))
    for name in wanted:
        if name not in KINDS:
            nearest = get_close_matches(name, KINDS, n=1, cutoff=0.0)[0]
            raise HeedfulError(f"unknown kind {name!r}: the nearest is {nearest}; there are {', '.join(KINDS)}")
    if not wanted:
        raise HeedfulError(f"no kind of line given; give some of {','.join(KINDS)}")
    return tuple(kind for name in wanted for kind in KINDS if kind == name)


def split_of(day: date) -> Literal["train", "valid", "test"]:
    """The only split that may contain this date, whatever the seed: a twentieth each for valid and test."""
    bucket = crc32(day.isoformat().encode()) % 20
    return "valid" if bucket == 0 else "test" if bucket == 1 else "train"


def make_dates(
    size: int,
    seed: int,
    sources: str | Sequence[str] = "all",
    target: str | Sequence[str] = ISO,
    kinds: str | Sequence[str] = KINDS,
    *,
    split: Split = "all",
    list_lengths: tuple[int, int] = LIST_LENGTHS,
    times: bool = True,
) -> list[Example]:
    """Examples with distinct sources; the same arguments give the same ones in the same order.

    Args:
        sources: locales, all equally likely, see `parse_sources`.
        target: "iso" for ISO 8601, a locale, or several of these, see `parse_targets`. With several, the first token
            of a source names its target, as in `<2de>` (Johnson et al. 2017). No locale is its own target.
        kinds: "single" dates, "interval"s, "list"s, in turn.
        split: dates of this split only, see `split_of`.
        list_lengths: least and most dates in a list. Lists drop dates, down to the least, that take them beyond
            `LONGEST` characters.
        times: half of all lines have times of day, in minutes or seconds; else none has.

    Raises:
        HeedfulError: unknown names, nothing to translate, or fewer different lines than asked for.
    """
    targets, wanted = parse_targets(target), parse_kinds(kinds)
    locales = tuple(locale for locale in parse_sources(sources) if set(targets) - {locale})
    if not locales:
        raise HeedfulError(f"dates: {targets[0]} is source and target; name another locale or iso as target")
    if split not in get_args(Split):
        raise HeedfulError(f"dates: unknown split {split!r}; there are {', '.join(get_args(Split))}")
    if not 2 <= list_lengths[0] <= list_lengths[1]:
        raise HeedfulError(f"dates: lists of {list_lengths[0]} to {list_lengths[1]} dates; the least is 2 or more")
    rng = random.Random(f"{seed} {split}")
    values = _Values(rng, split, list_lengths)
    forms = {kind: _forms_by_locale(locales, kind, times) for kind in wanted}
    examples: dict[str, Example] = {}
    while len(examples) < size:
        kind = wanted[len(examples) % len(wanted)]
        for _ in range(_TRIES):
            locale, groups = rng.choice(forms[kind])
            form = rng.choice(rng.choice(groups))
            target_locale = rng.choice([name for name in targets if name != locale])
            example = _write(form, target_locale, values.draw(form.content), len(targets) > 1, list_lengths[0])
            if example.source not in examples:
                break
        else:
            raise HeedfulError(
                f"dates: size {size} is more than there are different lines of kind {kind} here, "
                f"about {len(examples)}; ask for fewer, or for more locales"
            )
        examples[example.source] = example
    return list(examples.values())


def make_splits(
    train: int,
    valid: int,
    test: int,
    seed: int,
    sources: str | Sequence[str] = "all",
    target: str | Sequence[str] = ISO,
    kinds: str | Sequence[str] = KINDS,
    *,
    list_lengths: tuple[int, int] = LIST_LENGTHS,
    times: bool = True,
) -> Splits:
    """Corpora of three sizes, made as by `make_dates`."""

    def make(size: int, split: Split) -> list[Example]:
        return make_dates(size, seed, sources, target, kinds, split=split, list_lengths=list_lengths, times=times)

    return Splits(make(train, "train"), make(valid, "valid"), make(test, "test"))


def _forms_by_locale(locales: tuple[str, ...], kind: Kind, times: bool) -> list[tuple[str, list[list[Form]]]]:
    """Each locale's forms in groups of equal weight: without times (twice), with minutes, with seconds."""
    found = []
    for locale, forms in clear_forms(locales).items():
        fitting = [form for form in forms if form.content.kind == kind]
        groups = [
            [form for form in fitting if form.content.precision == precision]
            for precision in ((None, None, "minutes", "seconds") if times else (None,))
        ]
        if fitting:
            found.append((locale, [group for group in groups if group]))
    if not found:
        raise HeedfulError(f"dates: no locale of {', '.join(locales)} writes lines of kind {kind} that are clear")
    return found


def _write(form: Form, target: str, values: Sequence[date], tagged: bool, least: int) -> Example:
    source = form.write(values)
    while len(source) > LONGEST and len(values) > least and form.content.kind == "list":
        values = values[:-1]
        source = form.write(values)
    if tagged:
        source = f"<2{target}> {source}"
    answer = target_writer(target, form.content)(values)
    return Example(source, answer, form.locale, target, form.content.kind, tuple(values))


class _Values:
    """Draws the dates and times of a line."""

    def __init__(self, rng: random.Random, split: Split, list_lengths: tuple[int, int]) -> None:
        self._rng, self._list_lengths = rng, list_lengths
        self._days, self._months, self._years = _days(split)

    def draw(self, content: Content) -> list[date]:
        """Distinct dates, those of an interval in order: a third of them within a month, a third within a year."""
        rng = self._rng
        if content.kind == "single":
            days = [rng.choice(self._days)]
        elif content.kind == "interval":
            scope = rng.choice((self._days, rng.choice(self._months), rng.choice(self._years)))
            days = sorted(rng.sample(scope, 2))
        else:
            days = rng.sample(self._days, rng.randint(*self._list_lengths))
        if content.precision is None:
            return days
        seconds = content.precision == "seconds"
        return [
            datetime(day.year, day.month, day.day, rng.randrange(24), rng.randrange(60), rng.randrange(60) * seconds)
            for day in days
        ]


@cache
def _days(split: Split) -> tuple[list[date], list[list[date]], list[list[date]]]:
    """All dates of a split; the same by month and by year, where there are two or more."""
    first, last = date(YEARS[0], 1, 1), date(YEARS[-1], 12, 31)
    span = (first + timedelta(days=days) for days in range((last - first).days + 1))
    days = [day for day in span if split in ("all", split_of(day))]
    months = [list(group) for _, group in groupby(days, lambda day: (day.year, day.month))]
    years = [list(group) for _, group in groupby(days, lambda day: day.year)]
    return days, [month for month in months if len(month) > 1], years


def write_dates(examples: Iterable[Example], prefix: str | Path) -> tuple[Path, Path]:
    """Writes PREFIX.source and PREFIX.target in UTF-8, a line for every example; nothing where that fails.

    Raises:
        HeedfulError: a file cannot be written.
    """
    paths = Path(f"{prefix}.source"), Path(f"{prefix}.target")
    partial = [path.with_name(f"{path.name}.partial") for path in paths]
    try:
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            files = [stack.enter_context(path.open("w", encoding="utf-8", newline="\n")) for path in partial]
            for example in examples:
                files[0].write(f"{example.source}\n")
                files[1].write(f"{example.target}\n")
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for new, path in zip(partial, paths, strict=True):
            new.replace(path)
    except OSError as error:
        raise HeedfulError(f"{error.filename or paths[0]}: {error.strerror}; choose another --output") from error
    finally:
        for new in partial:
            with suppress(OSError):
                new.unlink()
    return paths


def digest(examples: Iterable[Example]) -> str:
    """SHA-256, in hexadecimal, of the lines and of the version of Babel, whose data they are made from."""
    hashed = hashlib.sha256(f"Babel {babel.__version__}\n".encode())
    for example in examples:
        hashed.update(f"{example.source}\t{example.target}\n".encode())
    return hashed.hexdigest()


def per_date_matches(hypothesis: str, target: str) -> tuple[int, int]:
    """How many dates (with times, if any) of an ISO target a hypothesis has in their places, and of how many."""
    right, given = (re.split(r"[ /]", line) for line in (target, hypothesis))
    return sum(map(str.__eq__, right, given)), len(right)
