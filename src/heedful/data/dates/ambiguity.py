"""Which ways of writing stay clear when several locales write: a source must have one right target.

"03/04/2020" is April in one locale and March in another, "lip" is June in Croatian and July in Polish. Forms that
write a same line for two contents or dates are found by writing out witnesses, not kept in a table: CLDR changes.
"""

import calendar
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime, time
from functools import cache
from itertools import combinations, permutations, product

from heedful.data.dates.forms import Content, Form, forms_of


def clear_forms(locales: Sequence[str]) -> dict[str, tuple[Form, ...]]:
    """Every locale's forms less those styles which any of these locales could read as something else."""
    confused: set[tuple[str, str]] = set()
    for content in sorted({form.content for locale in locales for form in forms_of(locale)}, key=str):
        ...
