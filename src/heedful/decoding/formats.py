"""Translations as lines of text: plain, JSON, Moses n-best lists, Pharaoh alignments. A line ends at "\\n" only."""

import json
from collections.abc import Callable, Mapping

from heedful.decoding.translation import Translation

Format = Callable[[int, Translation], str]
"""(0-based number of the input line, translation) → what is written for it, without the last line end."""

_OTHER_LINE_ENDS = str.maketrans({end: f"\\u{ord(end):04x}" for end in "\x85\u2028\u2029"})
"""JSON allows them as they are; many a reader of lines does not."""


def text(_number: int, translation: Translation) -> str:
    """The translation, one line; empty for a blank source."""
    return translation.text


def jsonl(_number: int, translation: Translation) -> str:
    """One object with source, text, score, tokens, source_tokens and hypotheses."""
    record = {
        "source": translation.source,
        "text": translation.text,
        "score": translation.score,
        "tokens": translation.tokens,
        "source_tokens": translation.source_tokens,
        "hypotheses": [
            {"text": each.text, "score": each.score, "log_prob": each.log_prob, "tokens": each.tokens}
            for each in translation.hypotheses
        ],
    }
    return json.dumps(record, ensure_ascii=False).translate(_OTHER_LINE_ENDS)


def nbest(number: int, translation: Translation) -> str:
    """`id ||| text ||| features ||| score`, a line for each hypothesis, as Moses has it.

    The features are the log-probability and the number of tokens, EOS included. A "|||" within the text is
    written as Moses escapes it.
    """
    return "\n".join(
        f"{number} ||| {each.text.replace('|||', '&#124;&#124;&#124;')} ||| "
        f"logp= {each.log_prob:.6f} length= {len(each.tokens)} ||| {each.score:.6f}"
        for each in translation.hypotheses
    )


def pharaoh(_number: int, translation: Translation) -> str:
    """`0-0 1-2`: 0-based whitespace words, source-target. Raises `HeedfulError` for a model without attention."""
    return " ".join(f"{source}-{target}" for source, target in translation.alignment)


FORMATS: Mapping[str, Format] = {"text": text, "jsonl": jsonl, "nbest": nbest, "pharaoh": pharaoh}
"""By the names of `heedful translate --format`."""
