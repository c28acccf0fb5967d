"""How close translations come to their references: BLEU in two protocols, chrF, exact match. Knows no model.

Scores of different protocols do not compare, so every score carries a signature that names its own. Scores lie
between 0 and 100. sacreBLEU and sacremoses are imported late: they cost a third of a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from heedful.errors import HeedfulError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

UNSPACED_TOKENIZERS = {
    "zh": "zh",
    "yue": "zh",
    "ja": "char",
    "th": "char",
    "lo": "char",
    "km": "char",
    "my": "char",
}
"""Languages written without spaces between words, and sacreBLEU's tokenizer for them.

13a would take a whole sentence for one word. Japanese gets characters, since sacreBLEU's ja-mecab needs a
dictionary that not every machine has, and a score must not depend on that.
"""


@dataclass(frozen=True)
class Score:
    """A number that names its protocol."""

    value: float
    """0 to 100."""
    signature: str
    """sacreBLEU's signature; two scores compare only where these are equal."""


def bleu(hypotheses: Sequence[str], references: Sequence[str], language: str | None = None) -> Score:
    """Corpus BLEU of plain (detokenised) text by sacreBLEU (Papineni et al. 2002; Post 2018).

    The tokenizer is 13a, or that of `UNSPACED_TOKENIZERS` where `language`, the target's code, is one of these.
    Raises HeedfulError for no sentences, or not one reference for every hypothesis.
    """
    return _score(bleu_metric(language), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus chrF2, the F-score of character n-grams up to 6, by sacreBLEU (Popović 2015). Raises as `bleu`."""
    return _score(chrf_metric(), hypotheses, references)


def bleu_lowercased_tokenized(
    hypotheses: Sequence[str], references: Sequence[str], language: str | None = None
) -> Score:
    """The BLEU that Multi30k papers report: `moses_tokens` of both sides, scored as they are and unsmoothed.

    `language` is the target's code, English unless given. Raises as `bleu`.
    """
    score = _score(tokenized_bleu_metric(), moses_tokens(hypotheses, language), moses_tokens(references, language))
    return Score(score.value, f"{moses_signature(language)}|{score.signature}")


def moses_tokens(texts: Sequence[str], language: str | None = None) -> list[str]:
    """MosesPunctNormalizer, then lower case, then MosesTokenizer (no escaping, no hyphen splitting).

    One string of tokens, spaces between them, per text. A language that Moses does not know gets the English
    list of abbreviations.
    """
    normalizer, tokenizer = _moses(primary_language(language) or "en")
    return [
        tokenizer.tokenize(
            normalizer.normalize(text).lower(), aggressive_dash_splits=False, escape=False, return_str=True
        )
        for text in texts
    ]


def moses_signature(language: str | None) -> str:
    """What `moses_tokens` did, in the manner of a sacreBLEU signature."""
    from importlib.metadata import version

    return f"moses:normalize+lowercase+tokenize.{primary_language(language) or 'en'}|sacremoses:{version('sacremoses')}"


def exact_match(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Percentage of hypotheses equal to their reference, character by character. Raises as `bleu`."""
    check_parallel(hypotheses, references)
    equal = sum(hypothesis == reference for hypothesis, reference in zip(hypotheses, references, strict=True))
    return 100.0 * equal / len(references)


def primary_language(language: str | None) -> str:
    """The language of a tag: "de" of "de-AT" and "DE", empty for None."""
    return (language or "").replace("_", "-").partition("-")[0].lower()


def bleu_metric(language: str | None = None) -> BLEU:
    """sacreBLEU's metric behind `bleu`."""
    from sacrebleu.metrics.bleu import BLEU

    # force: no advice on stderr about text that looks tokenised, at every score
    return BLEU(tokenize=UNSPACED_TOKENIZERS.get(primary_language(language), "13a"), force=True)


def tokenized_bleu_metric() -> BLEU:
    """sacreBLEU's metric behind `bleu_lowercased_tokenized`, for text from `moses_tokens`."""
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize="none", smooth_method="none", force=True)


def chrf_metric() -> CHRF:
    """sacreBLEU's metric behind `chrf`."""
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()


def check_parallel(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    """Raise HeedfulError unless there are sentences, one reference for every hypothesis."""
    if len(hypotheses) != len(references):
        raise HeedfulError(
            f"{len(hypotheses)} hypotheses but {len(references)} references: give one reference for every hypothesis"
        )
    if not references:
        raise HeedfulError("no sentences to score: give at least one pair")


def _score(metric: Metric, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    check_parallel(hypotheses, references)
    value = metric.corpus_score(list(hypotheses), [list(references)]).score
    return Score(value, str(metric.get_signature()))


@cache  # building one for Chinese or Japanese takes half a second
def _moses(language: str) -> tuple[Any, Any]:
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    return MosesPunctNormalizer(lang=language), MosesTokenizer(lang=language)
