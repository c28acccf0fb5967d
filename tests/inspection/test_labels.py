import pytest

from heedful.inspection.labels import Label, direction, label


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("▁Hund", Label("Hund", "Hund", space=True)),
        ("ning", Label("ning", "ning")),
        ("▁", Label("", "", space=True)),
        ("▁월", Label("월", "월", space=True)),
        ("</s>", Label("</s>", "</s>", "special")),
        ("<0xE2>", Label("E2", "E2", "byte")),
        ("</script>", Label("</script>", "</script>")),
        ("\u0301", Label("◌\u0301", "\u0301")),  # a combining accent
        ("ि", Label("◌ि", "ि")),  # a Devanagari vowel sign
        ("\u202eabc", Label("U+202Eabc", "U+202Eabc")),  # right-to-left override
        ("\u2028", Label("U+2028", "U+2028")),
        ("\u200d", Label("U+200D", "U+200D")),
        ("क\u200dष", Label("क\u200dष", "क\u200dष")),  # a joiner between letters shapes them
    ],
)
def test_labels(token, expected):
    assert label(token) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog", "ltr"),
        ("2024-03-15", "ltr"),
        ("", "ltr"),
        ("<de> ١٥ مارس ٢٠٢٤", "rtl"),  # a tag in Latin letters does not turn the line round
        ("יום שישי", "rtl"),
        ("2024년 3월", "ltr"),
    ],
)
def test_direction_is_that_of_most_letters(text, expected):
    assert direction(text) == expected
