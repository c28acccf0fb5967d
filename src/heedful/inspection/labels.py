"""How a token is shown to people: spaces, bytes and invisible characters made visible, direction of its text."""

import re
import unicodedata
from dataclasses import dataclass

_SPACE = "▁"
"""SentencePiece's mark of a word's beginning."""
_SPECIAL = {"<s>", "</s>", "<unk>", "<pad>"}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_JOINERS = "\u200c\u200d"
"""They shape the letters beside them (Persian, Hindi, emoji), so inside a word they stay."""


@dataclass(frozen=True)
class Label:
    """One token as it is drawn: `text` alone, `inline` within its sentence."""

    text: str
    inline: str
    kind: str = "piece"
    """`piece`, `special` (such as </s>) or `byte` (one byte of a character, in hexadecimal)."""
    space: bool = False
    """A space stands before it."""


def label(token: str) -> Label:
    """A token's label; its text is never invisible, except after a space."""
    if token in _SPECIAL:
        return Label(token, token, "special")
    if byte := _BYTE.fullmatch(token):
        return Label(byte[1], byte[1], "byte")
    text = token.removeprefix(_SPACE)
    shown = "".join(_visible(character) for character in text)
    if text and all(character in _JOINERS for character in text):
        shown = "".join(_code(character) for character in text)
    combining = unicodedata.category(text[:1] or " ").startswith("M")
    alone = "◌" + shown if combining else shown  # a combining mark needs something to stand on
    return Label(alone, shown, space=text != token)


def direction(text: str) -> str:
    """`rtl` where most letters of a text run from right to left, else `ltr`."""
    classes = [unicodedata.bidirectional(character) for character in text]
    return "rtl" if sum(name in ("R", "AL") for name in classes) > classes.count("L") else "ltr"


def _visible(character: str) -> str:
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") and character not in _JOINERS:
        return _code(character)
    return character


def _code(character: str) -> str:
    return f"U+{ord(character):04X}"
