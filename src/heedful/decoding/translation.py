"""What a translator answers: text and score at once, attention and alignment when they are asked for."""

import html
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from heedful.decoding.alignment import Pairs
from heedful.decoding.forced import Attention

if TYPE_CHECKING:
    from heedful.decoding.translator import Translator


@dataclass(frozen=True)
class TextHypothesis:
    """One of the n best outputs."""

    text: str
    score: float
    """log_prob divided by the length penalty."""
    log_prob: float
    """Natural-log probability, EOS included."""
    tokens: list[str]
    """Pieces, "</s>" last; none for a blank source."""
    token_log_probs: list[float]
    token_ids: list[int] = field(repr=False)


@dataclass(frozen=True)
class Translation:
    """One line in, one line out. A blank source has a blank translation without tokens, of score 0."""

    source: str
    source_tokens: list[str]
    """Pieces, "</s>" last."""
    hypotheses: list[TextHypothesis]
    """Best first."""
    source_ids: list[int] = field(repr=False)
    translator: "Translator" = field(repr=False, compare=False)

    @property
    def best(self) -> TextHypothesis:
        """The first hypothesis."""
        return self.hypotheses[0]

    @property
    def text(self) -> str:
        """Of the best hypothesis."""
        return self.best.text

    @property
    def score(self) -> float:
        """Of the best hypothesis: its natural-log probability divided by the length penalty."""
        return self.best.score

    @property
    def tokens(self) -> list[str]:
        """Of the best hypothesis, "</s>" last."""
        return self.best.tokens

    @cached_property
    def attention(self) -> Attention | None:
        """ "encoder", "decoder" and "cross": for each layer a float32 `[head, query, key]`.

        A kind that the model does not have is None; all is None for a model without attention, and for a blank
        source. Computed by a forced pass at the first access, with the first model of an ensemble.
        """
        return self.translator.attention(self.source_ids, self.best.token_ids)

    @cached_property
    def alignment(self) -> Pairs:
        """(source word, target word) for each target word; whitespace words, 0-based.

        Raises `HeedfulError` for a model without attention.
        """
        return self.translator.align(self.attention, self.source_ids, self.best.token_ids)

    def _repr_html_(self) -> str:
        if self.translator.draw is None:
            return f"<p>{html.escape(self.text)}</p>"
        return self.translator.draw(self)
