"""A line of brackets as the EVALB program reads it, and the parameter files that say what it counts.

EVALB (Sekine and Collins 1997) takes a line as it comes, broken ones too: what `heedful.data.treebank` would refuse
has a score here.
"""

import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from heedful.errors import HeedfulError

_logger = logging.getLogger("heedful")

_ITEM = re.compile(r"\s*(?:\(([^\s()]*)(?:\s+([^\s()]*)\))?|(\))|(\S))", re.ASCII)
"""A terminal (label, word) or an opening bracket (label); a closing one; anything else."""
_QUOTES = ("'", '"', "/")
_IGNORED = ("DEBUG", "MAX_ERROR")
"""How EVALB prints, and when it gives up; here it never does."""


@dataclass(frozen=True)
class Parameters:
    """What is counted. The defaults are EVALB's `nk.prm`, which counts like `new.prm` and never gives up."""

    labelled: bool = True
    cutoff: int = 40
    """Length of the sentences that have figures of their own."""
    deleted: frozenset[str] = frozenset(("TOP", "S1", "-NONE-", ",", ":", "``", "''", ".", "?", "!"))
    """A word so tagged is left out, of a bracket so labelled only the bracket."""
    deleted_for_length: frozenset[str] = frozenset(("-NONE-",))
    """Tags of the words that do not count in a sentence's length."""
    quotes: frozenset[str] = frozenset(("``", "''", "POS", "NN", "CD", "VBZ", ":"))
    """Tags of quotation marks: one that is deleted on one side alone comes back, where the words differ in number."""
    equal_labels: frozenset[tuple[str, str]] = frozenset((("ADVP", "PRT"),))
    equal_words: frozenset[tuple[str, str]] = frozenset()

    def same_label(self, a: str, b: str) -> bool:
        """Whether they count as one; a pair counts in both directions, and is not transitive."""
        return a == b or (a, b) in self.equal_labels or (b, a) in self.equal_labels

    def same_word(self, a: str, b: str) -> bool:
        """As `same_label`."""
        return a == b or (a, b) in self.equal_words or (b, a) in self.equal_words

    def deletes(self, label: str) -> bool:
        """Of a bracket; a label that equals a deleted one is deleted too."""
        return label in self.deleted or any(self.same_label(label, other) for other in self.deleted)


def read_parameters(lines: Iterable[str], name: str) -> Parameters:
    """A parameter file's lines: a keyword and its value, # before a comment.

    What the file does not say is off, as in EVALB, and the cut-off 40. Raises `HeedfulError` naming `name` and line.
    """
    sets: dict[str, set[str]] = {"DELETE_LABEL": set(), "DELETE_LABEL_FOR_LENGTH": set(), "QUOTE_LABEL": set()}
    pairs: dict[str, set[tuple[str, str]]] = {"EQ_LABEL": set(), "EQ_WORD": set()}
    numbers = {"LABELED": 1, "CUTOFF_LEN": 40}
    for number, line in enumerate(lines, start=1):
        if line.startswith("#") or len(line.rstrip()) < 3:
            continue
        keyword, *values = line.split(maxsplit=1)
        value = values[0].rstrip() if values else ""
        both = value.split()
        try:
            if keyword in sets and value:
                sets[keyword].add(value)
            elif keyword in pairs:
                pairs[keyword].add((both[0], both[1]))
            elif keyword in numbers:
                numbers[keyword] = int(both[0])
            elif keyword not in _IGNORED:
                _logger.warning(f"{name}, line {number}: {keyword} is no parameter of EVALB's; it is left out")
        except (IndexError, ValueError):
            wanted = "two words" if keyword in pairs else "a whole number"
            raise HeedfulError(f"{name}, line {number}: {keyword} needs {wanted}, not {value!r}") from None
    return Parameters(
        labelled=bool(numbers["LABELED"]),
        cutoff=numbers["CUTOFF_LEN"],
        deleted=frozenset(sets["DELETE_LABEL"]),
        deleted_for_length=frozenset(sets["DELETE_LABEL_FOR_LENGTH"]),
        quotes=frozenset(sets["QUOTE_LABEL"]),
        equal_labels=frozenset(pairs["EQ_LABEL"]),
        equal_words=frozenset(pairs["EQ_WORD"]),
    )


@dataclass
class Bracket:
    """Words `start` to `end`, the latter not in it."""

    label: str
    start: int
    end: int = -1


@dataclass
class Quote:
    """A quotation mark, whether it was deleted or not."""

    tag: str
    word: str
    place: int
    """Words before it."""
    opened: int
    """Brackets that opened before it."""
    around: tuple[int, ...]
    """Numbers of those that are open."""


@dataclass
class Sentence:
    """What is left of a line once words were deleted by their tags."""

    words: list[str] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    brackets: list[Bracket] = field(default_factory=list)
    """As they open."""
    quotes: list[Quote] = field(default_factory=list)
    length: int = 0
    fault: str | None = None
    """What is wrong with the brackets."""

    def restore(self, number: int) -> None:
        """Puts back a quotation mark that was deleted."""
        quote = self.quotes[number]
        self.words.insert(quote.place, quote.word)
        self.tags.insert(quote.place, quote.tag)
        for bracket in self.brackets[quote.opened :]:
            bracket.start += 1
            bracket.end += 1
        for outer in quote.around:
            self.brackets[outer].end += 1
        for later in self.quotes[number:]:
            later.place += 1


def mend_quotes(gold: Sentence, predicted: Sentence, parameters: Parameters) -> None:
    """Quotation marks at one place whose tags make one side alone delete them are put back there."""
    for number, own in enumerate(predicted.quotes):
        place = own.place
        for other_number, other in enumerate(gold.quotes):
            if other.place == place and other.tag != own.tag:
                kept, deleted = own.tag not in parameters.deleted, other.tag in parameters.deleted
                if deleted and kept:
                    gold.restore(other_number)
                elif not deleted and not kept:
                    predicted.restore(number)


def read_sentence(line: str, parameters: Parameters) -> Sentence:
    """One line, which may hold anything."""
    found, around = Sentence(), list[int]()
    for item in _ITEM.finditer(line):
        label, word, closing, other = item.groups()
        if word is not None:
            found.length += label not in parameters.deleted_for_length
            if label in parameters.quotes and word in _QUOTES:
                place, opened = len(found.words), len(found.brackets)
                found.quotes.append(Quote(label, word, place, opened, tuple(around)))
            if label not in parameters.deleted:
                found.words.append(word)
                found.tags.append(label)
        elif label is not None:
            around.append(len(found.brackets))
            found.brackets.append(Bracket(label, len(found.words)))
        elif closing and around:
            found.brackets[around.pop()].end = len(found.words)
        else:
            found.fault = f"{other!r} stands where a bracket should" if other else "a bracket too many closes"
            return found
    if around:
        found.fault = "a bracket too few closes"
    return found
