"""One evaluation: every score of a test set, and what it takes to get the same numbers again."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from heedful.evaluation.bleu import bleu, bleu_lowercased_tokenized, chrf, exact_match
from heedful.evaluation.lengths import LengthScore, length_unit, score_by_length
from heedful.evaluation.likelihood import Likelihood
from heedful.evaluation.tables import columns, shown

_logger = logging.getLogger("heedful")


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the translations come from. The caller knows; nothing here reads a file."""

    test: str
    """Name of the test set."""
    model: str
    checkpoint: str
    recipe: str
    beam_size: int
    length_penalty: float
    length_penalty_kind: str
    precision: str
    """Of the products of matrices while translating."""
    data_hash: str
    """Hash of the test set."""
    seed: int
    """Seed of the first model's training."""
    ensemble: list[str] = field(default_factory=list)
    """The other models and their checkpoints, where several translate together."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of heedful and what it computes with, by name."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores are 0 to 100, perplexities unsmoothed, and None where nobody computed them or they exceed a float.

    `dataclasses.asdict` makes it ready for JSON, which has no number for infinity.
    """

    sentences: int
    bleu: float
    bleu_signature: str
    chrf: float
    chrf_signature: str
    bleu_lowercased_tokenized: float
    """The BLEU that Multi30k papers report."""
    bleu_lowercased_tokenized_signature: str
    exact_match: float
    """Percentage of translations equal to their reference."""
    perplexity: float | None
    """Per target token, EOS counted."""
    perplexity_per_word: float | None
    bleu_by_length: list[LengthScore]
    provenance: Provenance | None


def evaluate_strings(
    sources: Sequence[str],
    hypotheses: Sequence[str],
    references: Sequence[str],
    source_language: str | None = None,
    target_language: str | None = None,
    likelihood: Likelihood | None = None,
    provenance: Provenance | None = None,
) -> Evaluation:
    """Every score of plain-text translations. Raises HeedfulError unless all are parallel and there is a pair."""

    def plain(hypotheses: Sequence[str], references: Sequence[str]) -> float:
        return bleu(hypotheses, references, target_language).value

    bleu_plain = bleu(hypotheses, references, target_language)
    bleu_tokenized = bleu_lowercased_tokenized(hypotheses, references, target_language)
    chrf_plain = chrf(hypotheses, references)
    _warn_of_tokens(references)
    return Evaluation(
        sentences=len(references),
        bleu=bleu_plain.value,
        bleu_signature=bleu_plain.signature,
        chrf=chrf_plain.value,
        chrf_signature=chrf_plain.signature,
        bleu_lowercased_tokenized=bleu_tokenized.value,
        bleu_lowercased_tokenized_signature=bleu_tokenized.signature,
        exact_match=exact_match(hypotheses, references),
        perplexity=finite(likelihood.perplexity) if likelihood else None,
        perplexity_per_word=finite(likelihood.perplexity_per_word) if likelihood else None,
        bleu_by_length=score_by_length(sources, hypotheses, references, plain, length_unit(source_language)),
        provenance=provenance,
    )


def render(evaluation: Evaluation) -> str:
    """The evaluation as plain text for a person."""
    tokenized_signature = evaluation.bleu_lowercased_tokenized_signature
    scores = [
        ("BLEU", evaluation.bleu, evaluation.bleu_signature),
        ("chrF", evaluation.chrf, evaluation.chrf_signature),
        ("BLEU lower-cased, tokenised", evaluation.bleu_lowercased_tokenized, tokenized_signature),
        ("exact match", evaluation.exact_match, "% of lines"),
        ("perplexity per token", evaluation.perplexity, "end of sentence counted"),
        ("perplexity per word", evaluation.perplexity_per_word, "whitespace words"),
    ]
    scores = [row for row in scores if row[1] is not None]
    numbers = columns([(title, f"{value:.2f}") for title, value, _ in scores])
    unit = evaluation.bleu_by_length[0].unit
    lengths: list[tuple[str, ...]] = [(unit, "sentences", "BLEU")]
    lengths += [(row.label, str(row.sentences), f"{row.score:.2f}") for row in evaluation.bleu_by_length]
    lines = [f"{number}  {note}" for number, (_, _, note) in zip(numbers, scores, strict=True)]
    lines += ["", f"BLEU by source length in {unit}, {evaluation.sentences} sentences in all", *columns(lengths)]
    if evaluation.provenance:
        lines += ["", *provenance_lines(evaluation.provenance)]
    return "\n".join(lines)


def provenance_lines(provenance: Provenance) -> list[str]:
    """For a person."""
    versions = ", ".join(f"{name} {version}" for name, version in provenance.versions.items())
    penalty = f"{provenance.length_penalty:g} ({provenance.length_penalty_kind})"
    rows = [
        ("test set", f"{provenance.test} ({provenance.data_hash})"),
        ("model", f"{provenance.model}, {provenance.checkpoint}"),
        ("with", "; ".join(provenance.ensemble)),
        ("recipe", f"{provenance.recipe}, seed {provenance.seed}"),
        ("search", f"beam {provenance.beam_size}, length penalty {penalty}, {provenance.precision}"),
        ("versions", versions),
    ]
    return [f"{title:<9} {shown(text)}" for title, text in rows if text]


def finite(number: float) -> float | None:
    """None for what JSON has no number for."""
    return number if math.isfinite(number) else None


def _warn_of_tokens(references: Sequence[str]) -> None:
    tokenized = sum(reference.rstrip().endswith(" .") for reference in references)
    if 2 * tokenized > len(references):
        _logger.warning(
            "%d of %d references end in a separate full stop: BLEU and chrF are meant for plain, detokenised text",
            tokenized,
            len(references),
        )
