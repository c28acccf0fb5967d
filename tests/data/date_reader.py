"""Reads dates by regular expressions made from CLDR's patterns: all that a line could be taken to mean.

Shares no code with what writes them.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from functools import cache
from itertools import product

from babel import Locale
from babel.dates import get_day_names, get_month_names, get_period_names
from babel.lists import format_list

WIDTHS = {3: "abbreviated", 4: "wide"}


def names_of(locale: str, letter: str, width: int) -> dict[str, int]:
    """The names that a field may have; none where it is a number."""
    context = "stand-alone" if letter in "Lc" else "format"
    if letter in "ML" and width > 2:
        names = {name: month for month, name in get_month_names(WIDTHS[width], context, locale).items()}
        assert len(names) == 12
    elif letter in "Ec":
        names = {name: day for day, name in get_day_names(WIDTHS[max(width, 3)], context, locale).items()}
        assert len(names) == 7
    elif letter == "a":
        wide = get_period_names("wide", "format", locale)
        periods = wide if "am" in wide else get_period_names("abbreviated", "format", locale)
        names = {periods["am"]: 0, periods["pm"]: 12}
    else:
        return {}
    return names


class Template:
    """A pattern as two expressions: one prefers longer readings of its fields, the other shorter ones."""

    def __init__(self, locale: str, pattern: str) -> None:
        self.fields: list[tuple[str, dict[str, int]]] = []
        longer, shorter = "", ""
        for literal, field, letter, other in re.findall(r"'([^']*)'|(([a-zA-Z])\3*)|([^a-zA-Z'])", pattern):
            names = names_of(locale, letter, len(field)) if field else {}
            if names:
                ordered = [re.escape(name) for name in sorted(names, key=len, reverse=True)]
                longer, shorter = longer + f"({'|'.join(ordered)})", shorter + f"({'|'.join(ordered[::-1])})"
            elif field:
                digits = rf"\d{{{len(field)},2}}" if letter != "y" else r"\d{4}"
                longer, shorter = longer + f"({digits})", shorter + f"({digits}?)"
            else:
                longer, shorter = longer + re.escape(literal + other), shorter + re.escape(literal + other)
            if field:
                self.fields.append((letter.replace("L", "M").replace("c", "E"), names))
        self.expressions = re.compile(longer), re.compile(shorter)

    def matches(self, line: str, start: int) -> Iterator[tuple[dict[str, int], int]]:
        for expression in self.expressions:
            if found := expression.match(line, start):
                texts = zip(self.fields, found.groups(), strict=True)
                yield {letter: names[text] if names else int(text) for (letter, names), text in texts}, found.end()


def value_of(numbers: dict[str, int]) -> date | None:
    """None where there is no such date, or not on that weekday."""
    try:
        day = date(numbers["y"], numbers["M"], numbers["d"])
    except ValueError:
        return None
    if numbers.get("E", day.weekday()) != day.weekday():
        return None
    if "m" not in numbers:
        return day
    hour = numbers["H"] if "H" in numbers else numbers["h"] % 12 + numbers["a"]
    return datetime(day.year, day.month, day.day, hour, numbers["m"], numbers.get("s", 0))


def iso(value: date, seconds: bool) -> str:
    return (
        value.isoformat(timespec="seconds" if seconds else "minutes")
        if isinstance(value, datetime)
        else value.isoformat()
    )


@cache
def templates_of(locale: str) -> list[Template]:
    """Of dates, alone and with times."""
    data = Locale.parse(locale)
    found = []
    for style, time in product(("full", "long", "medium"), (None, "short", "medium")):
        day = data.date_formats[style].pattern
        if time:
            clock = data.time_formats[time].pattern
            day = data.datetime_formats[style].replace("{0}", clock).replace("{1}", day)
        found.append(Template(locale, day))
    return found


@cache
def skeletons_of(locale: str) -> list[tuple[Template, Template]]:
    formats = Locale.parse(locale).interval_formats
    return [
        (Template(locale, first), Template(locale, last))
        for skeleton in ("yMMMd", "yMMMMd", "yMMMEd", "yMMMMEd")
        for first, last in formats.get(skeleton, {}).values()
    ]


def sequences(line: str, template: Template, literals: Sequence[str]) -> Iterator[list[dict[str, int]]]:
    """All ways to read the line as moments of one template between these literals."""

    def rest(start: int, number: int) -> Iterator[list[dict[str, int]]]:
        if not line.startswith(literals[number], start):
            return
        start += len(literals[number])
        if number == len(literals) - 1:
            if start == len(line):
                yield []
            return
        for numbers, end in template.matches(line, start):
            yield from ([numbers, *others] for others in rest(end, number + 1))

    return rest(0, 0)


def readings(line: str, locales: Sequence[str]) -> set[str]:
    """Every meaning, in ISO 8601, that the line has in any of the locales."""
    meanings = set()
    years = len(re.findall(r"(?<!\d)\d{4}(?!\d)", line))
    for locale in locales:
        data = Locale.parse(locale)
        layouts = [("", ["", ""])] if years == 1 else []
        if years == 2:
            layouts.append(("/", re.split(r"\{[01]\}", data.interval_formats[None])))
        if years > 1:
            layouts.append((" ", format_list(["\0"] * years, locale=data).split("\0")))
        for template, (separator, literals) in product(templates_of(locale), layouts):
            for moments in sequences(line, template, literals):
                values = [value_of(moment) for moment in moments]
                if None not in values and (separator != "/" or values[0] < values[1]):
                    meanings.add(separator.join(iso(value, "s" in moments[0]) for value in values))
        for first, last in skeletons_of(locale):
            for start, middle in first.matches(line, 0):
                for end, stop in last.matches(line, middle):
                    values = [value_of({**end, **start}), value_of({**start, **end})]
                    if stop == len(line) and None not in values and values[0] < values[1]:
                        meanings.add("/".join(value.isoformat() for value in values))
    return meanings
