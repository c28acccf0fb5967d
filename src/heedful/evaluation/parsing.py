"""One evaluation of a parser: EVALB's figures, and what it takes to get the same numbers again."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from heedful.evaluation.brackets import BracketScores, figures, score_trees
from heedful.evaluation.lengths import LengthScore, score_by_length
from heedful.evaluation.likelihood import Likelihood
from heedful.evaluation.report import Provenance, finite, provenance_lines
from heedful.evaluation.tables import columns


@dataclass(frozen=True, kw_only=True)
class ParserEvaluation:
    """Percentages and perplexities; None where nobody computed them or they exceed a float."""

    scores: BracketScores
    """Against gold trees, with gold tags in both: they say which words are punctuation, which EVALB leaves out."""
    tagging_accuracy: float | None
    """Of the tags that the parser predicted, over all words."""
    perplexity: float | None
    """Per symbol of the gold trees, end counted."""
    perplexity_per_word: float | None
    f1_by_length: list[LengthScore]
    provenance: Provenance | None

    def as_json(self) -> dict[str, Any]:
        """Flat, EVALB's figures first."""
        rest = {name: value for name, value in asdict(self).items() if name != "scores"}
        return asdict(self.scores) | rest


def evaluate_trees(
    sentences: Sequence[str],
    gold: Sequence[str],
    predicted: Sequence[str],
    tagging_accuracy: float | None = None,
    likelihood: Likelihood | None = None,
    provenance: Provenance | None = None,
) -> ParserEvaluation:
    """Of bracketed trees, one a line, and the words of each."""

    def f1(predicted: Sequence[str], gold: Sequence[str]) -> float:
        return score_trees(gold, predicted).all.f1

    return ParserEvaluation(
        scores=score_trees(gold, predicted).all,
        tagging_accuracy=tagging_accuracy,
        perplexity=finite(likelihood.perplexity) if likelihood else None,
        perplexity_per_word=finite(likelihood.perplexity_per_word) if likelihood else None,
        f1_by_length=score_by_length(sentences, predicted, gold, f1),
        provenance=provenance,
    )


def render(evaluation: ParserEvaluation) -> str:
    """The evaluation as plain text for a person."""
    scores = evaluation.scores
    more = (
        ("tagging accuracy", evaluation.tagging_accuracy),
        ("perplexity per symbol", evaluation.perplexity),
        ("perplexity per word", evaluation.perplexity_per_word),
    )
    rows = [row for row in figures(scores) if row[0] != "tagging accuracy"]
    rows += [(title, f"{value:.2f}") for title, value in more if value is not None]
    lengths = [("words", "sentences", "F1")]
    lengths += [(row.label, str(row.sentences), f"{row.score:.2f}") for row in evaluation.f1_by_length]
    lines = [f"{scores.errors} errors, {scores.skips} skips in {scores.sentences} sentences", "", *columns(rows)]
    lines += ["", "F1 by length", *columns(lengths)]
    if evaluation.provenance:
        lines += ["", *provenance_lines(evaluation.provenance)]
    return "\n".join(lines)
