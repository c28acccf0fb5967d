"""How a locale writes dates, times, intervals and lists: CLDR's patterns, compiled from Babel's data.

Knows neither sampling nor which forms of two locales could be confused. Left out are CLDR's style `short`, whose
years have two digits, and every form that does not say year, month and day of all the dates it contains.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from itertools import product
from operator import itemgetter
from typing import Any, Literal, NamedTuple

from babel import Locale
from babel.dates import format_datetime, get_datetime_format, get_period_names, tokenize_pattern
from babel.lists import format_list

from heedful.data.dates.locales import ISO, digits

Kind = Literal["single", "interval", "list"]
Precision = Literal["minutes", "seconds"]
Write = Callable[[Sequence[date]], str]
Tokens = Sequence[tuple[str, str | tuple[str, int]]]
"""("chars", literal) and ("field", (letter, width)), as Babel's `tokenize_pattern` has them."""

YEARS = range(1900, 2100)
"""All have four digits, and Gregorian dates in every locale of `CURATED`."""

Style = Literal["full", "long", "medium"]
_STYLES: tuple[Style, ...] = ("long", "full", "medium")
_TIME_STYLES = (None, "short", "medium")  # the longer ones name a time zone
_SKELETONS = ("yMMMMd", "yMMMd", "yMMMMEd", "yMMMEd")


class Content(NamedTuple):
    """What a line says beside its dates and times: a right target follows from these and from nothing else."""

    kind: Kind
    weekday: bool
    """Weekdays are named."""
    precision: Precision | None
    """Of the times; None where there are only dates."""


@dataclass(frozen=True)
class Form:
    """One way in which a locale writes lines of one content."""

    locale: str
    style: str
    """CLDR's date style, or the skeleton of an interval."""
    content: Content
    write: Write


_MONDAY = datetime(2001, 1, 1)
_SAMPLES: dict[str, tuple[str, tuple[int, ...], list[datetime]]] = {
    # component: its letters in patterns, the places of a struct_time that decide it, all its values
    "year": ("y", (0,), [_MONDAY.replace(year=year) for year in YEARS]),
    "era": ("G", (0,), [_MONDAY.replace(year=year) for year in YEARS]),
    "month": ("ML", (1,), [_MONDAY.replace(month=month) for month in range(1, 13)]),
    "day": ("d", (2,), [_MONDAY.replace(day=day) for day in range(1, 32)]),
    "weekday": ("Eec", (6,), [_MONDAY + timedelta(days=days) for days in range(7)]),
    "hour": ("hHkK", (3,), [_MONDAY.replace(hour=hour) for hour in range(24)]),
    "minute": ("m", (4,), [_MONDAY.replace(minute=minute) for minute in range(60)]),
    "second": ("s", (5,), [_MONDAY.replace(second=second) for second in range(60)]),
    "period": ("abB", (3, 4), [_MONDAY + timedelta(minutes=minutes) for minutes in range(24 * 60)]),
}
_COMPONENTS = {letter: name for name, (letters, _, _) in _SAMPLES.items() for letter in letters}


def _components(tokens: Tokens) -> set[str]:
    """What a pattern says. Years of two digits, and fields of which there are no samples, stand for themselves."""
    fields = [value for _, value in tokens if not isinstance(value, str)]
    return {"yy" if field == ("y", 2) else _COMPONENTS.get(field[0], field[0]) for field in fields}


@cache
def _table(locale: str, field: str) -> tuple[Callable[[Any], Any], dict[Any, str]]:
    """The key of a field in a struct_time, and what Babel writes for every key, in the locale's own digits."""
    _, places, samples = _SAMPLES[_COMPONENTS[field[0]]]
    if field == "a" and "am" in get_period_names("wide", "format", locale):
        field = "aaaa"  # as ICU does: Koreans write 오전 and 오후, not CLDR's abbreviations AM and PM
    key, native = itemgetter(*places), digits(locale)
    table = {}
    for sample in samples:
        text = format_datetime(sample, field, locale=locale)
        table[key(sample.timetuple())] = text.translate(native) if text.isdecimal() else text
    return key, table


class _Pattern:
    """A CLDR pattern with its fields' tables, which writes some twenty times faster than Babel."""

    def __init__(self, locale: str, tokens: Tokens) -> None:
        self._template = ""
        self._columns = []
        for _, value in tokens:
            if isinstance(value, str):
                self._template += value.replace("%", "%%")
            else:
                self._template += "%s"
                self._columns.append(_table(locale, value[0] * value[1]))

    def write(self, value: date) -> str:
        moment = value.timetuple()
        return self._template % tuple([table[key(moment)] for key, table in self._columns])


@cache
def forms_of(locale: str) -> tuple[Form, ...]:
    """All forms of a locale; the first of a content is the one in which targets are written."""
    return (*_skeleton_intervals(locale), *_styled(locale))


def _styled(name: str) -> list[Form]:
    locale = Locale.parse(name)
    forms = []
    for time_style, style in product(_TIME_STYLES, _STYLES):
        tokens = _styled_tokens(locale, style, time_style)
        components = _components(tokens)
        if not {"year", "month", "day"} <= components <= _SAMPLES.keys():
            continue
        weekday, write = "weekday" in components, _Pattern(name, tokens).write
        precision: Precision | None = "seconds" if "second" in components else "minutes" if time_style else None
        for kind, join in _JOINS.items():
            forms.append(Form(name, style, Content(kind, weekday, precision), join(locale, write)))
    return forms


def _styled_tokens(locale: Locale, style: Style, time_style: str | None) -> Tokens:
    day = tokenize_pattern(locale.date_formats[style].pattern)
    if time_style is None:
        return day
    time = tokenize_pattern(locale.time_formats[time_style].pattern)
    glue = str(get_datetime_format(style, locale=locale)).replace("'", "")  # quotes go as in Babel's format_datetime
    tokens: list[tuple[str, str | tuple[str, int]]] = []
    for part in re.split(r"(\{[01]\})", glue):
        tokens += {"{0}": time, "{1}": day}.get(part, [("chars", part)])
    return tokens


def _single(_: Locale, write: Callable[[date], str]) -> Write:
    return lambda values: write(values[0])


def _interval(locale: Locale, write: Callable[[date], str]) -> Write:
    """CLDR's fallback for what no skeleton offers: both ends in full (UTS 35 part 4, Interval Formats)."""
    first, middle, last = re.split(r"\{[01]\}", locale.interval_formats[None])
    return lambda values: f"{first}{write(values[0])}{middle}{write(values[1])}{last}"


def _list(locale: Locale, write: Callable[[date], str]) -> Write:
    return lambda values: format_list([write(value) for value in values], locale=locale)


_JOINS: dict[Kind, Callable[[Locale, Callable[[date], str]], Write]] = {
    "single": _single,
    "interval": _interval,
    "list": _list,
}


def _skeleton_intervals(name: str) -> list[Form]:
    """Intervals of dates that say once what both ends share ("4–9 May 2020"), where CLDR's data are whole.

    They are not always: in CLDR 48, Swahili's yMMMd leaves out one of two different months.
    """
    forms = []
    for skeleton in _SKELETONS:
        formats = Locale.parse(name).interval_formats.get(skeleton, {})
        tokens = {difference: [tokenize_pattern(part) for part in formats[difference]] for difference in formats}
        if not all(_both_ends_said(tokens.get(difference, []), difference) for difference in _DIFFERENCES):
            continue
        patterns = {letter: [_Pattern(name, part) for part in parts] for letter, parts in tokens.items()}
        content = Content("interval", "E" in skeleton, None)
        forms.append(Form(name, skeleton, content, _skeleton_interval(patterns)))
    return forms


_DIFFERENCES = {"y": "year", "M": "month", "d": "day"}


def _both_ends_said(parts: Sequence[Tokens], difference: str) -> bool:
    """Whether a reader learns both dates: what differs is said twice, what does not at least once."""
    if len(parts) != 2:
        return False
    first, last = map(_components, parts)
    order = list(_DIFFERENCES)
    said = all(
        name in (first & last if order.index(letter) >= order.index(difference) else first | last)
        for letter, name in _DIFFERENCES.items()
    )
    return said and first | last <= _SAMPLES.keys()


def _skeleton_interval(patterns: dict[str, list[_Pattern]]) -> Write:
    def write(values: Sequence[date]) -> str:
        start, end = values
        greatest = "y" if start.year != end.year else "M" if start.month != end.month else "d"
        first, last = patterns[greatest]
        return first.write(start) + last.write(end)

    return write


@cache
def target_writer(target: str, content: Content) -> Write:
    """Writes right answers: in ISO 8601, or in a locale, with weekdays where the content names them.

    A locale that has no form for just this content (Volapük's full dates lack weekdays) takes its nearest.
    """
    if target == ISO:
        return _iso(content)
    nearest = [content, content._replace(weekday=not content.weekday)]
    return next(form.write for wish in nearest for form in forms_of(target) if form.content == wish)


def _iso(content: Content) -> Write:
    """2020-05-04T10:20, start/end for intervals (ISO 8601-1, 5.5), a space between the dates of a list."""
    separator = {"single": "", "interval": "/", "list": " "}[content.kind]
    options = {"timespec": content.precision} if content.precision else {}
    return lambda values: separator.join([value.isoformat(**options) for value in values])
