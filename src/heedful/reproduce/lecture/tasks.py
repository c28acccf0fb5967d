"""What the models learn: the embedded dates, and a corpus of the user's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus
from heedful.data.dates import make_dates, make_splits, per_date_matches, write_dates
from heedful.evaluation.bleu import bleu, exact_match
from heedful.evaluation.lengths import LengthScore, Unit, length_unit, score_by_length
from heedful.reproduce.lecture.profile import Profile
from heedful.reproduce.splits import split

TEST, LONGER = "test", "longer"
"""Lines like those trained on; lists of more dates than any of these."""
LIST_LENGTHS, LONGER_LISTS = (2, 4), (5, 6)
"""Dates of a list in training, and beyond it."""
_SEED = 1
_DATES_ENDS = (0, 20, 40, 60, 80, 100, 120)


@dataclass(frozen=True)
class Task:
    """Corpora, how they become batches, and how answers are scored."""

    name: str
    train: Corpus
    valid: Corpus
    tests: Mapping[str, Corpus]
    data: DataConfig
    metric: str
    """Name of `score`."""
    unit: Unit
    """Of source lengths."""
    upper_ends: Sequence[int] | None = None
    """Of source lengths' groups."""

    def score(self, hypotheses: Sequence[str], references: Sequence[str]) -> float:
        """0 to 100."""
        if self.metric == "BLEU":
            return bleu(hypotheses, references, self.train.target_lang).value
        return exact_match(hypotheses, references)

    def by_length(self, hypotheses: Sequence[str], test: str = TEST) -> list[LengthScore]:
        """The score of each group of source lengths of a test set."""
        sources, references = zip(*self.tests[test].pairs(), strict=True)
        return score_by_length(sources, hypotheses, references, self.score, self.unit, self.upper_ends)


def dates(profile: Profile, directory: Path) -> Task:
    """Made anew each time, the same each time; files under `directory`."""
    made = make_splits(*profile.lines, _SEED, list_lengths=LIST_LENGTHS, times=False)._asdict()
    made[LONGER] = make_dates(
        profile.lines[2], _SEED, kinds="list", split="test", list_lengths=LONGER_LISTS, times=False
    )
    corpora = {part: Corpus.of(write_dates(examples, directory / part)) for part, examples in made.items()}
    data = DataConfig(
        vocab_size=profile.vocab, character_coverage=1.0, split_digits=True, batch_tokens=1024, short_first=True
    )
    tests = {part: corpora[part] for part in (TEST, LONGER)}
    return Task("dates", corpora["train"], corpora["valid"], tests, data, "lines right, %", "characters", _DATES_ENDS)


def dates_right(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """Percentage of dates in their places."""
    counts = [per_date_matches(*pair) for pair in zip(hypotheses, references, strict=True)]
    return 100 * sum(right for right, _ in counts) / sum(count for _, count in counts)


def given(profile: Profile, directory: Path, source: str, target: str) -> Task:
    """train, val and test of a directory. Raises `HeedfulError` for one that is missing."""
    train, valid, test = (split(directory, name, source, target) for name in ("train", "val", "test"))
    data = DataConfig(vocab_size=profile.data_vocab, batch_tokens=2048)
    return Task(directory.name, train, valid, {TEST: test}, data, "BLEU", length_unit(source))
