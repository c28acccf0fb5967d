"""Two systems on the same test set: is one better, on which lengths, in which sentences?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from heedful.evaluation.bleu import (
    bleu,
    bleu_metric,
    check_parallel,
    chrf_metric,
    moses_signature,
    moses_tokens,
    tokenized_bleu_metric,
)
from heedful.evaluation.lengths import Unit, length_unit, score_by_length
from heedful.evaluation.significance import SEED, Difference, paired_difference, score, sentence_statistics
from heedful.evaluation.tables import columns, shown

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

_EQUAL = 1e-9
"""Sentence chrF that differs by less is equal."""
_TITLES = {"bleu": "BLEU", "chrf": "chrF", "bleu_lowercased_tokenized": "BLEU lower-cased, tokenised"}


@dataclass(frozen=True)
class LengthDifference:
    """BLEU of both systems for the sentences whose source has `shortest` to `longest` units."""

    unit: Unit
    shortest: int
    longest: int | None
    """None: no upper end."""
    label: str
    """`6-10`, `31+`."""
    sentences: int
    a: float
    b: float
    difference: float


@dataclass(frozen=True)
class SentenceDifference:
    """One sentence in both translations, with its chrF."""

    line: int
    """From 1."""
    source: str
    reference: str
    hypothesis_a: str
    hypothesis_b: str
    chrf_a: float
    chrf_b: float


@dataclass(frozen=True)
class Comparison:
    """System b against system a. Every difference is b - a. `dataclasses.asdict` makes it ready for JSON."""

    system_a: str
    system_b: str
    sentences: int
    samples: int
    """Resamples of each test."""
    seed: int
    metrics: dict[str, Difference]
    """`bleu`, `chrf` and `bleu_lowercased_tokenized`, as in `heedful.evaluation.bleu`."""
    bleu_by_length: list[LengthDifference]
    b_better: int
    """Sentences whose chrF is higher in b."""
    a_better: int
    equal: int
    identical: int
    """Sentences translated letter by letter the same."""
    b_wins: list[SentenceDifference]
    """Where b gains most chrF, largest gain first."""
    a_wins: list[SentenceDifference]
    """Where b loses most, largest loss first."""


def compare(
    sources: Sequence[str],
    references: Sequence[str],
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    source_language: str | None = None,
    target_language: str | None = None,
    *,
    systems: tuple[str, str] = ("A", "B"),
    samples: int = 1000,
    seed: int = SEED,
    sentences_shown: int = 10,
) -> Comparison:
    """Paired bootstrap and approximate randomisation, BLEU by source length, and the sentences that differ most.

    Raises HeedfulError unless all four are parallel and hold at least one sentence.
    """
    check_parallel(hypotheses_a, references)
    check_parallel(hypotheses_b, references)
    lengths = _by_length(sources, references, hypotheses_a, hypotheses_b, length_unit(source_language), target_language)
    pairs = _sentence_differences(sources, references, hypotheses_a, hypotheses_b)
    b_wins = sorted((pair for pair in pairs if _gain(pair) > _EQUAL), key=_gain, reverse=True)
    a_wins = sorted((pair for pair in pairs if _gain(pair) < -_EQUAL), key=_gain)
    return Comparison(
        system_a=systems[0],
        system_b=systems[1],
        sentences=len(pairs),
        samples=samples,
        seed=seed,
        metrics=_metrics(references, hypotheses_a, hypotheses_b, target_language, samples, seed),
        bleu_by_length=lengths,
        b_better=len(b_wins),
        a_better=len(a_wins),
        equal=len(pairs) - len(b_wins) - len(a_wins),
        identical=sum(pair.hypothesis_a == pair.hypothesis_b for pair in pairs),
        b_wins=b_wins[:sentences_shown],
        a_wins=a_wins[:sentences_shown],
    )


def render(comparison: Comparison) -> str:
    """The comparison as plain text for a person."""
    unit = comparison.bleu_by_length[0].unit
    scores = [("", "A", "B", "B - A", "p bootstrap", "p randomisation")]
    for name, metric in comparison.metrics.items():
        intervals = (f"{metric.a:.2f} ± {metric.interval_a:.2f}", f"{metric.b:.2f} ± {metric.interval_b:.2f}")
        tests = (f"{metric.bootstrap_p:.4f}", f"{metric.randomization_p:.4f}")
        scores.append((_TITLES[name], *intervals, f"{metric.difference:+.2f}", *tests))
    lengths: list[tuple[str, ...]] = [(unit, "sentences", "A", "B", "B - A")]
    for row in comparison.bleu_by_length:
        lengths.append((row.label, str(row.sentences), f"{row.a:.2f}", f"{row.b:.2f}", f"{row.difference:+.2f}"))
    counts = (
        f"Of {comparison.sentences} sentences B is better in {comparison.b_better}, A in {comparison.a_better} "
        f"(sentence chrF); {comparison.equal} score the same, {comparison.identical} are identical."
    )
    lines = [
        f"A = {shown(comparison.system_a)}",
        f"B = {shown(comparison.system_b)}",
        "",
        *columns(scores),
        "",
        f"BLEU by source length in {unit}",
        *columns(lengths),
        "",
        counts,
        *_sentence_lines("B gains most", comparison.b_wins),
        *_sentence_lines("B loses most", comparison.a_wins),
        "",
        f"± is half the 95 % bootstrap interval; {comparison.samples} resamples, seed {comparison.seed}",
        *(f"{_TITLES[name]}: {metric.signature}" for name, metric in comparison.metrics.items()),
    ]
    return "\n".join(lines)


def _metrics(
    references: Sequence[str],
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    language: str | None,
    samples: int,
    seed: int,
) -> dict[str, Difference]:
    def difference(metric: Metric, references: Sequence[str], a: Sequence[str], b: Sequence[str]) -> Difference:
        return paired_difference(
            metric,
            sentence_statistics(metric, a, references),
            sentence_statistics(metric, b, references),
            samples,
            seed,
        )

    tokens = [moses_tokens(texts, language) for texts in (references, hypotheses_a, hypotheses_b)]
    tokenized = difference(tokenized_bleu_metric(), *tokens)
    return {
        "bleu": difference(bleu_metric(language), references, hypotheses_a, hypotheses_b),
        "chrf": difference(chrf_metric(), references, hypotheses_a, hypotheses_b),
        "bleu_lowercased_tokenized": dataclasses.replace(
            tokenized, signature=f"{moses_signature(language)}|{tokenized.signature}"
        ),
    }


def _by_length(
    sources: Sequence[str],
    references: Sequence[str],
    hypotheses_a: Sequence[str],
    hypotheses_b: Sequence[str],
    unit: Unit,
    target_language: str | None,
) -> list[LengthDifference]:
    def metric(hypotheses: list[str], references: list[str]) -> float:
        return bleu(hypotheses, references, target_language).value

    return [
        LengthDifference(unit, a.shortest, a.longest, a.label, a.sentences, a.score, b.score, b.score - a.score)
        for a, b in zip(
            score_by_length(sources, hypotheses_a, references, metric, unit),
            score_by_length(sources, hypotheses_b, references, metric, unit),
            strict=True,
        )
    ]


def _sentence_differences(
    sources: Sequence[str], references: Sequence[str], hypotheses_a: Sequence[str], hypotheses_b: Sequence[str]
) -> list[SentenceDifference]:
    metric = chrf_metric()
    chrf_a, chrf_b = (
        [score(metric, sentence) for sentence in sentence_statistics(metric, hypotheses, references)]
        for hypotheses in (hypotheses_a, hypotheses_b)
    )
    rows = zip(sources, references, hypotheses_a, hypotheses_b, chrf_a, chrf_b, strict=True)
    return [SentenceDifference(line, *row) for line, row in enumerate(rows, start=1)]


def _gain(pair: SentenceDifference) -> float:
    return pair.chrf_b - pair.chrf_a


def _sentence_lines(title: str, pairs: Sequence[SentenceDifference]) -> list[str]:
    lines = ["", title] if pairs else []
    for pair in pairs:
        lines += [
            f"  line {pair.line}: chrF {pair.chrf_a:.1f} → {pair.chrf_b:.1f}",
            f"    source     {shown(pair.source)}",
            f"    reference  {shown(pair.reference)}",
            f"    A          {shown(pair.hypothesis_a)}",
            f"    B          {shown(pair.hypothesis_b)}",
        ]
    return lines
