"""The embedded corpus: a source has one right target, and dates of one split stay out of the others."""

import logging
import re
import subprocess
import sys
import unicodedata
from datetime import date, datetime, timedelta
from itertools import combinations, product

import babel
import pytest
from babel import Locale
from babel.dates import format_date, format_interval, format_time, get_period_names
from babel.lists import format_list
from date_reader import readings

from heedful.data import dates
from heedful.data.dates import ambiguity, corpus
from heedful.data.dates.forms import Content, Form, forms_of, target_writer
from heedful.data.dates.locales import digits
from heedful.errors import HeedfulError

MOMENTS = [
    datetime(1900, 1, 1, 0, 0, 0),
    datetime(1987, 3, 5, 12, 5, 9),
    datetime(1987, 3, 29, 23, 59, 59),
    datetime(1987, 11, 2, 9, 30, 0),
    datetime(2020, 2, 29, 13, 20, 30),
    datetime(2099, 12, 31, 11, 0, 7),
]


def latin(text: str) -> str:
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in text)


def babels_own(form: Form, values: list[datetime]) -> str:
    """The line as Babel's documented functions make it."""
    locale, (kind, _, precision) = Locale.parse(form.locale), form.content
    if form.style not in ("full", "long", "medium"):
        return format_interval(values[0].date(), values[1].date(), form.style, locale=locale, fuzzy=False)
    parts = [format_date(value, form.style, locale=locale) for value in values]
    if precision:
        clock = locale.time_formats[{"minutes": "short", "seconds": "medium"}[precision]].pattern
        if "am" in get_period_names("wide", "format", locale):
            clock = clock.replace("a", "aaaa")
        times = [format_time(value, clock, locale=locale) for value in values]
        glue = locale.datetime_formats[form.style].replace("'", "")
        parts = [glue.format(moment, day) for moment, day in zip(times, parts, strict=True)]
    if kind == "interval":
        return locale.interval_formats[None].format(*parts[:2])
    return parts[0] if kind == "single" else format_list(parts, locale=locale)


@pytest.mark.parametrize("locale", [*dates.CURATED, "fa", "zh_Hant", "th", "mr"])
def test_lines_are_babels(locale):
    assert len(forms_of(locale)) >= 27 + 2
    for form, (start, end) in product(forms_of(locale), combinations(MOMENTS, 2)):
        values = [start, end, MOMENTS[0]] if form.content.kind == "list" else [start, end]
        assert latin(form.write(values)) == latin(babels_own(form, values)), form


def test_digits_are_the_locales_own():
    long = Content("single", False, None)
    assert target_writer("ar_EG", long)([date(2020, 5, 4)]) == "٤ مايو ٢٠٢٠"
    assert target_writer("ar", long)([date(2020, 5, 4)]) == "4 مايو 2020"
    assert target_writer("mr", long)([date(2020, 5, 4)]) == "४ मे, २०२०"
    for locale in ("ar_EG", "fa", "bn", "mr", "my", "dz", "nqo", "sat", "mni", "ff_Adlm", "ccp", "hnj"):
        native = {unicodedata.decimal(chr(digit)): unicodedata.name(chr(digit)) for digit in digits(locale).values()}
        assert sorted(native) == list(range(10))
        assert len({name.rsplit(" DIGIT ")[0] for name in native.values()}) == 1


def test_all_locales_written_by_hand():
    """Texts that CLDR's charts show, so that not both sides of a comparison come from Babel."""
    short, long = Content("single", False, "minutes"), Content("single", True, None)
    noon = [datetime(2020, 5, 4, 12, 5)]
    assert target_writer("ko", short)(noon) == "2020년 5월 4일 오후 12:05"
    assert target_writer("ja", long)(noon) == "2020年5月4日月曜日"
    assert target_writer("de", short)(noon) == "4. Mai 2020, 12:05"
    assert target_writer("vi", short)(noon) == "12:05 4 tháng 5, 2020"
    within = [date(2020, 5, 4), date(2020, 5, 9)]
    # as CLDR had it, and as it has it in Babel 2.19
    chinese = {"2020年5月4日至9日", "2020年5月4日\u2009–\u20099日"}
    assert target_writer("zh", Content("interval", False, None))(within) in chinese
    assert target_writer("fr", Content("list", False, None))(within) == "4 mai 2020 et 9 mai 2020"


def invert(lines):
    """Checks that no line comes with two meanings."""
    meanings: dict[str, str] = {}
    for line, meaning, form in lines:
        assert meanings.setdefault(line, meaning) == meaning, (line, form)
    return meanings


def test_every_date_of_every_calendar_reads_one_way():
    """Each of the fourteen calendars day by day, all locales at once. The year is in the line, as its only number
    of four digits, so that other years cannot add a confusion."""
    days = [date(2000, 1, 1) + timedelta(days) for days in range(28 * 365 + 7)]
    shown = {day.year: (day.year % 4 == 0, date(day.year, 1, 1).weekday()) for day in days}
    years = {calendar: year for year, calendar in shown.items()}
    assert len(years) == 14
    days = [day for day in days if day.year in years.values()]
    forms = [
        form
        for locale in dates.CURATED
        for form in forms_of(locale)
        if form.content.kind == "single" and form.content.precision is None
    ]
    assert len(forms) == 3 * len(dates.CURATED)
    lines = ((form.write([day]), f"{day} {form.content.weekday}", form) for form in forms for day in days)
    for line, meaning in invert(lines).items():
        assert re.findall(r"\d{4,}", latin(line)) == [meaning[:4]]


def test_every_minute_reads_one_way():
    clock = [datetime(2020, 5, 4) + timedelta(minutes=minute, seconds=minute % 60) for minute in range(24 * 60)]
    forms = [form for locale in dates.CURATED for form in forms_of(locale) if form.content.precision]
    invert(
        (form.write([moment]), moment.isoformat(timespec=form.content.precision), form)
        for form in forms
        if form.content.kind == "single"
        for moment in clock
    )


def test_intervals_read_one_way():
    days = [date(2020, month, day) for month in range(1, 13) for day in (1, 2, 3, 7, 11, 12, 28)]
    spans = [*combinations(days, 2), *((day, day.replace(year=2021)) for day in days)]
    forms = [form for locale in dates.CURATED for form in forms_of(locale)]
    forms = [form for form in forms if form.content.kind == "interval" and form.content.precision is None]
    invert((form.write(span), f"{form.content.weekday} {span[0]}/{span[1]}", form) for form in forms for span in spans)


def test_a_reader_of_all_locales_finds_the_target_and_nothing_else():
    for example in dates.make_dates(999, 5):
        assert readings(example.source, dates.CURATED) == {example.target}, example


@pytest.mark.parametrize("target", ["ko", "en", "ar_EG", "vi"])
def test_locale_to_locale_keeps_the_meaning(target):
    for example in dates.make_dates(120, 6, target=target):
        assert example.locale != target == example.target_locale
        meanings = readings(example.source, dates.CURATED)
        assert len(meanings) == 1
        assert readings(example.target, [target]) == meanings


def test_targets_name_weekdays_where_sources_do():
    english, german = r"Mon|Tue|Wed|Thu|Fri|Sat|Sun", r"Mo\.|Di\.|Mi\.|Do\.|Fr\.|Sa\.|So\.|tag|Mittwoch"
    examples = dates.make_dates(300, 7, "en", "de")
    named = [bool(re.search(english, example.source)) for example in examples]
    assert named == [bool(re.search(german, example.target)) for example in examples]
    assert 60 < sum(named) < 240


def test_values_and_dates_are_those_of_the_target():
    for example in dates.make_dates(300, 8):
        written = re.split("[ /]", example.target)
        assert [datetime.fromisoformat(text).date() for text in written] == list(example.dates)
        assert [datetime.fromisoformat(text) for text in written if "T" in text] == [
            value for value in example.values if isinstance(value, datetime)
        ]


def test_with_several_targets_the_first_token_names_one():
    examples = dates.make_dates(400, 9, "ko,ja,en-GB", "de,ja,iso")
    for example in examples:
        tag, _, line = example.source.partition(" ")
        assert tag == f"<2{example.target_locale}>"
        assert example.locale != example.target_locale
        target = [example.target_locale] if example.target_locale != "iso" else []
        assert readings(line, ["ko", "ja", "en_GB"]) == (readings(example.target, target) or {example.target})
    assert {(example.locale, example.target_locale) for example in examples} == {
        *product(["ko", "ja", "en_GB"], ["de", "ja", "iso"])
    } - {("ja", "ja")}
    assert not any("<2" in example.source for example in dates.make_dates(50, 9, "ko,ja", "de"))


def test_no_date_of_one_split_is_in_another():
    splits = dates.make_splits(3000, 400, 500, seed=3)
    assert [len(examples) for examples in splits] == [3000, 400, 500]
    occurring = [{day for example in examples for day in example.dates} for examples in splits]
    for first, second in combinations(occurring, 2):
        assert not first & second
    # whatever the seed and the locales
    others = dates.make_dates(500, 12345, "tr", "pl", split="test")
    assert not {day for example in others for day in example.dates} & (occurring[0] | occurring[1])
    days = [date(1900, 1, 1) + timedelta(days) for days in range(73_049)]
    assert days[-1] == date(2099, 12, 31)
    shares = [sum(dates.split_of(day) == name for day in days) / len(days) for name in ("train", "valid", "test")]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.003)


def test_the_same_call_gives_the_same_bytes(tmp_path):
    script = (
        "import sys; from heedful.data.dates import *; "
        "write_dates(make_dates(200, 4, 'ko,de', 'ja,iso', split='valid'), sys.argv[1])"
    )
    written = []
    for hash_seed in ("1", "2"):
        prefix = tmp_path / hash_seed
        subprocess.run([sys.executable, "-c", script, prefix], check=True, env={"PYTHONHASHSEED": hash_seed})
        written.append([prefix.with_suffix(suffix).read_bytes() for suffix in (".source", ".target")])
    assert written[0] == written[1]
    assert dates.make_dates(20, 4) != dates.make_dates(20, 5)
    assert dates.make_dates(20, 4) == dates.make_dates(50, 4)[:20]


def test_kinds_and_lengths():
    examples = dates.make_dates(3000, 2)
    assert len({example.source for example in examples}) == 3000
    shares = [[example for example in examples if example.kind == kind] for kind in dates.KINDS]
    assert [len(share) for share in shares] == [1000, 1000, 1000]
    assert [{len(example.values) for example in share} for share in shares] == [{1}, {2}, {2, 3, 4, 5}]
    lengths = [sorted(len(example.source) for example in share) for share in shares]
    assert lengths[0][0] >= len("1.1.1900")
    assert lengths[2][-1] in range(140, 151)
    assert [share[500] for share in lengths] == sorted(share[500] for share in lengths)
    assert {example.locale for example in examples} == set(dates.CURATED)
    timed = sum(isinstance(example.values[0], datetime) for example in examples)
    assert timed / 3000 == pytest.approx(0.5, abs=0.04)
    longer = dates.make_dates(30, 2, "ja", kinds="list", list_lengths=(7, 7))
    assert {len(example.values) for example in longer} == {7}
    assert {example.kind for example in dates.make_dates(10, 2, kinds=["interval"])} == {"interval"}


def test_intervals_lie_within_months_and_years_too():
    spans = [example.values for example in dates.make_dates(600, 2, kinds="interval", split="test")]
    assert all(start < end for start, end in spans)
    assert sum((start.year, start.month) == (end.year, end.month) for start, end in spans) > 150
    assert sum(start.year == end.year and start.month != end.month for start, end in spans) > 150
    assert sum(start.year != end.year for start, end in spans) > 150


def test_lines_hold_nothing_that_splits_them():
    for example in dates.make_dates(2000, 1, target="all"):
        for text in (example.source, example.target):
            assert text == text.strip()
            assert len(text.splitlines()) == 1
            assert not any(unicodedata.category(letter) == "Cc" for letter in text)


def test_confusable_styles_are_left_out(monkeypatch, caplog):
    """Two locales that disagree on the order of day and month, a third that does not take part."""
    single = Content("single", False, None)
    interval = Content("interval", False, "minutes")

    def forms(locale):
        order = {"A": "%d/%m/%Y", "B": "%m/%d/%Y", "C": "%Y/%m/%d"}[locale]
        return (
            Form(locale, "medium", single, lambda values: values[0].strftime(order)),
            Form(locale, "medium", interval, lambda values: f"{locale}: {values}"),
            Form(locale, "long", single, lambda values: f"{locale}: {values[0]}"),
        )

    monkeypatch.setattr(ambiguity, "forms_of", forms)
    ambiguity.clear_forms.cache_clear()
    with caplog.at_level(logging.WARNING, logger="heedful"):
        clear = ambiguity.clear_forms(("A", "B", "C"))
    assert {locale: [form.style for form in kept] for locale, kept in clear.items()} == {
        "A": ["long"],
        "B": ["long"],
        "C": ["medium", "medium", "long"],
    }
    [record] = caplog.records
    assert "A medium ('05/02/2000'), B medium ('02/05/2000')" in record.getMessage()
    assert [form.style for form in ambiguity.clear_forms(("A", "C"))["A"]] == ["medium", "medium", "long"]
    ambiguity.clear_forms.cache_clear()


def test_nothing_is_left_out_of_all(caplog):
    ambiguity.clear_forms.cache_clear()
    clear = ambiguity.clear_forms(dates.CURATED)
    assert clear == {locale: forms_of(locale) for locale in dates.CURATED}
    assert not caplog.records


@pytest.mark.parametrize("locale", ["sw", "yo", "dz", "as"])
def test_intervals_that_lose_a_date_are_not_used(locale):
    """CLDR's Swahili yMMMd names one month for two, Yoruba's yMMMEd is garbled."""
    spans = [(date(2020, month, 2), date(year, 9, 5)) for month in range(1, 9) for year in (2020, 2021)]
    for form in forms_of(locale):
        if form.content.kind == "interval":
            assert len({form.write(span) for span in spans}) == len(spans), form.style


def test_names_of_locales():
    assert dates.parse_sources("ko, ja,ko,en-gb") == ("ko", "ja", "en_GB")
    assert dates.parse_sources("all") == dates.CURATED
    assert dates.parse_sources(["zh-TW", "all"]) == ("zh_Hant_TW", *dates.CURATED)
    assert dates.parse_targets("iso,de") == ("iso", "de")
    assert dates.parse_kinds("list,single,list") == ("list", "single")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dates.parse_sources("ko,ko_JP"), r"unknown locale 'ko_JP': the nearest are ko, "),
        (lambda: dates.parse_sources("kr"), "unknown locale 'kr': the nearest are ko, "),
        (lambda: dates.parse_sources("korean"), "unknown locale 'korean': the nearest are ko"),
        (lambda: dates.parse_sources("qqqqqq"), f"unknown locale 'qqqqqq': .*; Babel {babel.__version__} knows "),
        (lambda: dates.parse_sources("xx"), "unknown locale 'xx': "),
        (lambda: dates.parse_sources("iso"), "unknown locale 'iso'"),
        (lambda: dates.parse_sources("../de"), "unknown locale '../de'"),
        (lambda: dates.parse_sources(","), "--from: no locale given"),
        (lambda: dates.parse_targets(""), "--to: no locale given"),
        (lambda: dates.parse_targets("izo"), "unknown locale 'izo': the nearest are .*iso"),
        (
            lambda: dates.parse_kinds("lists"),
            "unknown kind 'lists': the nearest is list; there are single, interval, list",
        ),
        (lambda: dates.parse_kinds(""), "no kind of line given"),
        (lambda: dates.make_dates(5, 1, "de", "de"), "de is source and target"),
        (lambda: dates.make_dates(5, 1, split="dev"), "unknown split 'dev'"),
        (lambda: dates.make_dates(5, 1, list_lengths=(1, 3)), "lists of 1 to 3 dates"),
    ],
)
def test_errors_are_one_line_that_helps(call, message):
    with pytest.raises(HeedfulError, match=message) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_more_lines_than_there_are(monkeypatch):
    few = [date(2020, 5, 4), date(2020, 5, 9)]
    monkeypatch.setattr(corpus, "_days", lambda _: (few, [few], [few]))
    monkeypatch.setattr(
        corpus,
        "clear_forms",
        lambda locales: {
            locale: [form for form in forms_of(locale) if not form.content.precision] for locale in locales
        },
    )
    # in three styles each, of which Chinese has two that are the same
    assert len(dates.make_dates(4, 1, "zh", kinds="single")) == 4
    with pytest.raises(
        HeedfulError, match="size 5 is more than there are different lines of kind single here, about 4"
    ):
        dates.make_dates(5, 1, "zh", kinds="single")


def test_files_are_whole_or_absent(tmp_path):
    examples = dates.make_dates(50, 1)
    paths = dates.write_dates(examples, tmp_path / "new" / "v1.0")
    assert [path.name for path in paths] == ["v1.0.source", "v1.0.target"]
    for path, texts in zip(paths, [[e.source for e in examples], [e.target for e in examples]], strict=True):
        assert path.read_bytes() == "".join(f"{text}\n" for text in texts).encode()

    def breaks_off():
        yield examples[0]
        raise HeedfulError("no more")

    with pytest.raises(HeedfulError, match="no more"):
        dates.write_dates(breaks_off(), tmp_path / "broken")
    with pytest.raises(HeedfulError, match=r"v1\.0\.source.*choose another --output"):
        dates.write_dates(examples, tmp_path / "new" / "v1.0.source" / "below")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "v1.0.source", "v1.0.target"]


def test_digest_depends_on_lines_and_on_babel(monkeypatch):
    examples = dates.make_dates(10, 1)
    before = dates.digest(examples)
    assert re.fullmatch("[0-9a-f]{64}", before)
    assert dates.digest(dates.make_dates(10, 1)) == before
    assert dates.digest(examples[::-1]) != before
    monkeypatch.setattr(babel, "__version__", "0.9")
    assert dates.digest(examples) != before


def test_per_date_matches():
    assert dates.per_date_matches("2020-05-04 2021-01-01T10:20", "2020-05-04 2021-01-01T10:21") == (1, 2)
    assert dates.per_date_matches("2020-05-04/2020-05-09", "2020-05-04/2020-05-09") == (2, 2)
    assert dates.per_date_matches("2020-05-09", "2020-05-04 2020-05-09") == (0, 2)
    assert dates.per_date_matches("2020-05-04 2020-05-09 2020-05-09", "2020-05-04") == (1, 1)
    assert dates.per_date_matches("", "2020-05-04") == (0, 1)
