"""The embedded corpus: dates and times as people write them in many languages, made from CLDR through Babel.

    source                                              target
    4. Mai 2020, 13:20                                  2020-05-04T13:20
    2020년 5월 4일~9일                                  2020-05-04/2020-05-09
    5 septembre 1999 et 7 juin 2001                     1999-09-05 2001-06-07
    <2ja> Monday, May 4, 2020                           2020年5月4日月曜日

A translation task that needs no download and whose right answers are certain. Dates are Gregorian, of the years 1900
to 2099; times have no zones. Every source has exactly one right target, which says nothing that the source does not.
"""

from heedful.data.dates.corpus import (
    KINDS,
    Example,
    Split,
    Splits,
    digest,
    make_dates,
    make_splits,
    parse_kinds,
    per_date_matches,
    split_of,
    write_dates,
)
from heedful.data.dates.forms import Kind
from heedful.data.dates.locales import CURATED, ISO, parse_sources, parse_targets

__all__ = [
    "CURATED",
    "ISO",
    "KINDS",
    "Example",
    "Kind",
    "Split",
    "Splits",
    "digest",
    "make_dates",
    "make_splits",
    "parse_kinds",
    "parse_sources",
    "parse_targets",
    "per_date_matches",
    "split_of",
    "write_dates",
]
