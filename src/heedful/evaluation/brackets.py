"""Labelled brackets of predicted trees against gold ones, figure for figure as the EVALB program counts them.

EVALB leaves out the sentences that it calls errors (other words, unbalanced brackets) and skips (no words), which
rewards a parser for failing; so another F1 stands beside its own, for which the brackets of those were not found.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from typing import Any, Literal

from heedful.errors import HeedfulError
from heedful.evaluation.evalb import Bracket, Parameters, Sentence, mend_quotes, read_sentence
from heedful.evaluation.tables import columns, shown

_SHOWN = 10
"""Failures that are told one by one."""


@dataclass(frozen=True, kw_only=True)
class BracketScores:
    """In EVALB's units: percentages, except the average number of crossing brackets. What is 0 / 0 is 0."""

    sentences: int
    errors: int
    """Sentences with other words than the gold tree's, or whose brackets do not match; in no figure below."""
    skips: int
    """Sentences without words; in no figure below."""
    valid: int
    recall: float
    precision: float
    f1: float
    f1_failures_as_misses: float
    """With the gold brackets of errors and skips in the recall's denominator."""
    complete_match: float
    average_crossing: float
    """Predicted brackets of a sentence that cross a gold one."""
    no_crossing: float
    two_or_fewer_crossing: float
    tagging_accuracy: float
    """Of the words that are not deleted."""


@dataclass(frozen=True)
class SentenceScore:
    """What one pair of lines adds to the totals."""

    status: Literal["valid", "error", "skip"]
    length: int
    """Of the gold sentence."""
    gold: int
    """Brackets."""
    predicted: int = 0
    matched: int = 0
    crossing: int = 0
    words: int = 0
    tags: int = 0
    """Words whose tags agree."""
    reason: str = ""
    """Why it is not valid."""


@dataclass(frozen=True)
class TreeScores:
    """All sentences, those up to the cut-off, and each by itself."""

    all: BracketScores
    short: BracketScores
    cutoff: int
    by_sentence: Sequence[SentenceScore]


def score_trees(gold: Iterable[str], predicted: Iterable[str], parameters: Parameters | None = None) -> TreeScores:
    """Line n of one against line n of the other. Raises `HeedfulError` where one has more lines."""
    parameters = parameters or Parameters()
    pairs = list(zip_longest(gold, predicted))
    counts = [sum(line is not None for line in lines) for lines in zip(*pairs, strict=True)] or [0, 0]
    if counts[0] != counts[1]:
        raise HeedfulError(
            f"{counts[0]} gold trees, but {counts[1]} predicted ones; line n of one is compared with line n of the "
            "other"
        )
    scores = [
        score_sentence(read_sentence(own, parameters), read_sentence(guess, parameters), parameters)
        for own, guess in pairs
    ]
    short = [score for score in scores if score.length <= parameters.cutoff]
    return TreeScores(total(scores), total(short), parameters.cutoff, scores)


def score_sentence(gold: Sentence, predicted: Sentence, parameters: Parameters) -> SentenceScore:
    """One pair; quotation marks of both may be put back."""
    golden = _counted(gold, parameters)
    if not predicted.words:
        return SentenceScore("skip", gold.length, len(golden), reason="no words are predicted")
    if len(gold.words) != len(predicted.words):
        mend_quotes(gold, predicted, parameters)
        golden = _counted(gold, parameters)
    if reason := gold.fault or predicted.fault or _different(gold.words, predicted.words, parameters):
        return SentenceScore("error", gold.length, len(golden), reason=reason)
    guesses = _counted(predicted, parameters)
    tags = sum(parameters.same_label(*pair) for pair in zip(gold.tags, predicted.tags, strict=True))
    matched, crossing = _matched(golden, guesses, parameters), _crossing(golden, guesses)
    return SentenceScore("valid", gold.length, len(golden), len(guesses), matched, crossing, len(gold.words), tags)


def total(scores: Sequence[SentenceScore]) -> BracketScores:
    """Over a corpus: sums first, then ratios."""
    valid = [score for score in scores if score.status == "valid"]
    gold, predicted, matched = (sum(getattr(s, name) for s in valid) for name in ("gold", "predicted", "matched"))
    recall, precision = _percent(matched, gold), _percent(matched, predicted)
    missed = _percent(matched, sum(score.gold for score in scores))
    return BracketScores(
        sentences=len(scores),
        errors=sum(score.status == "error" for score in scores),
        skips=sum(score.status == "skip" for score in scores),
        valid=len(valid),
        recall=recall,
        precision=precision,
        f1=_f1(recall, precision),
        f1_failures_as_misses=_f1(missed, precision),
        complete_match=_percent(sum(s.gold == s.predicted == s.matched for s in valid), len(valid)),
        average_crossing=sum(s.crossing for s in valid) / max(1, len(valid)),
        no_crossing=_percent(sum(s.crossing == 0 for s in valid), len(valid)),
        two_or_fewer_crossing=_percent(sum(s.crossing <= 2 for s in valid), len(valid)),
        tagging_accuracy=_percent(sum(s.tags for s in valid), sum(s.words for s in valid)),
    )


def as_json(scores: TreeScores) -> dict[str, Any]:
    """The figures of all sentences by name, with those of the short ones under "short"."""
    failures = [
        {"line": line, "status": score.status, "reason": score.reason}
        for line, score in enumerate(scores.by_sentence, start=1)
        if score.status != "valid"
    ]
    return asdict(scores.all) | {"short": {"cutoff": scores.cutoff, **asdict(scores.short)}, "failures": failures}


def render(scores: TreeScores) -> str:
    """For a person, failures first."""
    all_, short = scores.all, scores.short
    failed = [(line, score) for line, score in enumerate(scores.by_sentence, start=1) if score.status != "valid"]
    lines = [f"{all_.errors} errors, {all_.skips} skips in {all_.sentences} sentences"]
    lines += [f"  line {line}: {score.status}, {shown(score.reason)}" for line, score in failed[:_SHOWN]]
    lines += [f"  and {len(failed) - _SHOWN} more"] if len(failed) > _SHOWN else []
    own = zip(figures(all_), figures(short), strict=True)
    rows = [("", "all", f"up to {scores.cutoff} words"), *((title, one, other) for (title, one), (_, other) in own)]
    return "\n".join([*lines, "", *columns(rows)])


def figures(scores: BracketScores) -> list[tuple[str, str]]:
    """Titles and figures for a person, without errors and skips."""
    values = ((name, title, getattr(scores, name)) for name, title in _TITLES.items())
    return [(title, f"{value}" if name in ("sentences", "valid") else f"{value:.2f}") for name, title, value in values]


_TITLES = {
    "sentences": "sentences",
    "valid": "valid",
    "recall": "recall",
    "precision": "precision",
    "f1": "F1 of the valid (EVALB)",
    "f1_failures_as_misses": "F1, failures as misses",
    "complete_match": "complete match",
    "average_crossing": "average crossing",
    "no_crossing": "no crossing",
    "two_or_fewer_crossing": "2 or fewer crossing",
    "tagging_accuracy": "tagging accuracy",
}


def _counted(sentence: Sentence, parameters: Parameters) -> list[Bracket]:
    """Brackets that hold words and are not deleted, their labels cut at the first - or =."""
    brackets = (
        replace(bracket, label=re.split("[-=]", bracket.label, maxsplit=1)[0])
        for bracket in sentence.brackets
        if bracket.start != bracket.end
    )
    return [bracket for bracket in brackets if not parameters.deletes(bracket.label)]


def _different(gold: Sequence[str], predicted: Sequence[str], parameters: Parameters) -> str | None:
    if len(gold) != len(predicted):
        return f"{len(predicted)} words that count, but {len(gold)} in the gold tree"
    pairs = zip(gold, predicted, strict=True)
    return next((f"{own} for {word}" for word, own in pairs if not parameters.same_word(word, own)), None)


def _matched(gold: Sequence[Bracket], predicted: Sequence[Bracket], parameters: Parameters) -> int:
    """Each gold bracket takes the first predicted one of its words and label that is left."""
    left: dict[tuple[int, int], list[str]] = defaultdict(list)
    for bracket in predicted:
        left[bracket.start, bracket.end].append(bracket.label)
    matched = 0
    for bracket in gold:
        labels = left[bracket.start, bracket.end]
        for place, label in enumerate(labels):
            if not parameters.labelled or parameters.same_label(bracket.label, label):
                del labels[place]
                matched += 1
                break
    return matched


def _crossing(gold: Sequence[Bracket], predicted: Sequence[Bracket]) -> int:
    """Predicted brackets that overlap a gold one without either holding the other."""
    spans = {(bracket.start, bracket.end) for bracket in gold}
    return sum(
        any(start < own.start < end < own.end or own.start < start < own.end < end for start, end in spans)
        for own in predicted
        if (own.start, own.end) not in spans  # those of a tree do not cross each other
    )


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _f1(recall: float, precision: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
