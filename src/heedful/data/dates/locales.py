"""Which locales there are, under which names, and with which digits they write. Knows no patterns."""

import difflib
from collections.abc import Sequence
from functools import cache

import babel
from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.localedata import locale_identifiers

from heedful.errors import HeedfulError

ISO = "iso"
"""The target that is no locale: ISO 8601."""

CURATED = (
    "ar_EG",
    "cs",
    "de",
    "el",
    "en",
    "en_GB",
    "es",
    "fi",
    "fr",
    "he",
    "hi",
    "id",
    "it",
    "ja",
    "ko",
    "nl",
    "pl",
    "pt",
    "ru",
    "sv",
    "tr",
    "uk",
    "vi",
    "zh",
)
"""What `all` means: locales of which no two could read a line differently, and whose calendar is Gregorian."""

_ZEROS = {
    "adlm": "\U0001e950",
    "arab": "\u0660",
    "arabext": "\u06f0",
    "beng": "\u09e6",
    "cakm": "\U00011136",
    "deva": "\u0966",
    "hmnp": "\U0001e140",
    "mtei": "\uabf0",
    "mymr": "\u1040",
    "nkoo": "\u07c0",
    "olck": "\u1c50",
    "tibt": "\u0f20",
}
"""Numbering system → its zero, which the other nine digits follow (CLDR numberingSystems.xml). Babel knows
which system is a locale's default, but writes Latin digits everywhere."""


def parse_sources(names: str | Sequence[str]) -> tuple[str, ...]:
    """Locales under Babel's names from "ko,ja", "en-GB", "all" or a sequence of such; each once, in order.

    Raises:
        HeedfulError: a locale that Babel does not know, or none at all.
    """
    return _parse(names, (), "--from")


def parse_targets(names: str | Sequence[str]) -> tuple[str, ...]:
    """As `parse_sources`, "iso" being a target as well."""
    return _parse(names, (ISO,), "--to")


def _parse(names: str | Sequence[str], extra: Sequence[str], option: str) -> tuple[str, ...]:
    parts = names.split(",") if isinstance(names, str) else names
    wanted = [part.strip() for part in parts if part.strip()]
    if not wanted:
        raise HeedfulError(f"{option}: no locale given; give some, such as {option} ko,ja, or {option} all")
    found: dict[str, None] = {}
    for name in wanted:
        found |= dict.fromkeys(CURATED if name == "all" else [name if name in extra else _canonical(name, extra)])
    return tuple(found)


def _canonical(name: str, extra: Sequence[str]) -> str:
    try:
        return str(Locale.parse(name.replace("-", "_")))
    except (UnknownLocaleError, ValueError):
        nearest = ", ".join(_nearest(name.replace("-", "_"), extra))
        raise HeedfulError(
            f"unknown locale {name!r}: the nearest are {nearest}; "
            f"Babel {babel.__version__} knows {len(locale_identifiers())}, named as in ko or en_GB"
        ) from None


def _nearest(name: str, extra: Sequence[str]) -> list[str]:
    """By language (de for de_FR), by English name (Korean), by territory (ko for kr), by spelling."""
    known = sorted(locale_identifiers())
    spoken = {language: code for code, language in Locale("en").languages.items()}
    territory = str(get_global("likely_subtags").get(f"und_{name[-2:].upper()}", ""))
    by_sense = [name.split("_")[0].lower(), spoken.get(name.capitalize(), ""), territory.split("_")[0]]
    by_spelling = difflib.get_close_matches(name, [*extra, "all", *CURATED, *known], n=3, cutoff=0.0)
    found = dict.fromkeys([*(code for code in by_sense if code in known), *by_spelling])
    return list(found)[:3]


@cache
def digits(locale: str) -> dict[int, int]:
    """For `str.translate`: ASCII digits → those of the locale's default numbering system, {} where it is Latin."""
    zero = _ZEROS.get(Locale.parse(locale).default_numbering_system)
    return {ord("0") + value: ord(zero) + value for value in range(10)} if zero else {}
