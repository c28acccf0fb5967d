"""Which forms stay clear when several locales write, since every source must have one right target.

Some do not: "10/01/2000" is January in Colombia and October in Panama, "2 Kas" May in Taita and November in Turkish.
They are found by writing out witnesses and not kept in a table, since CLDR's data change.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from functools import cache
from itertools import combinations, permutations

from heedful.data.dates.forms import Content, Form, forms_of

Values = tuple[date, ...]


@cache
def clear_forms(locales: tuple[str, ...]) -> dict[str, tuple[Form, ...]]:
    """The forms of every locale, without the styles in which one of `locales` could take a line for something else.

    All styles go that write such a line, and with a style its intervals, lists and times. A warning names them.
    """
    meanings: dict[str, tuple[Content, Values]] = {}
    confusing = set()
    for _, line, meaning in _lines(locales):
        if meanings.setdefault(line, meaning) != meaning:
            confusing.add(line)
    unclear: dict[tuple[str, str], str] = {}
    if confusing:
        for form, line, _ in _lines(locales):
            if line in confusing:
                unclear.setdefault((form.locale, form.style), line)
        styles = ", ".join(f"{locale} {style} ({line!r})" for (locale, style), line in unclear.items())
        logging.getLogger("heedful").warning("dates: left out as ambiguous among these locales: %s", styles)
    return {
        locale: tuple(form for form in forms_of(locale) if (locale, form.style) not in unclear) for locale in locales
    }


def _lines(locales: Sequence[str]) -> Iterator[tuple[Form, str, tuple[Content, Values]]]:
    for form in (form for locale in locales for form in forms_of(locale)):
        for values in _witnesses(form.content):
            yield form, form.write(values), (form.content, values)


_MONTHS = range(1, 13)
_CALENDARS = (2000, 2001, 2002, 2003, 2004, 2005, 2006, 2008, 2009, 2010, 2012, 2016, 2020, 2024)
"""A year for each of the fourteen: leap or not, beginning on any weekday."""
_FEW = (date(2000, 2, 5), date(2000, 5, 2), date(2001, 12, 12))


@cache
def _witnesses(content: Content) -> Sequence[Values]:
    """Dates and times by which two forms that can be confused show it.

    Confusion comes from the names of months, weekdays or halves of the day, from the order of day and month, or from
    separators. Years are the only numbers of four digits, and days are always numbers, so few of either suffice;
    those here include dates that keep their weekday as day and month change places (5/9 and 9/5, 7/11 and 11/7).
    """
    second = 8 if content.precision == "seconds" else 0
    if content.kind == "single" and content.precision:
        clock = [time(hour, minute, second) for hour in range(24) for minute in (0, 34)]
        return [(datetime.combine(day, moment),) for day in _FEW for moment in clock]
    if content.kind == "single":
        years = _CALENDARS if content.weekday else _CALENDARS[:1]
        return [(date(year, month, day),) for year in years for month in _MONTHS for day in (2, 5, 7, 9, 11)]
    if content.kind == "interval" and not content.precision:
        days = [date(2000, month, day) for month in _MONTHS for day in (2, 5)]
        return [*combinations(days, 2), *((day, day.replace(year=2001)) for day in days)]
    few: Sequence[date] = _FEW
    if content.precision:
        few = [datetime.combine(day, time(hour, 34, second)) for day, hour in zip(_FEW, (1, 13, 12), strict=True)]
    if content.kind == "interval":
        return list(combinations(few, 2))
    return [*permutations(few, 2), *permutations(few, 3)]
