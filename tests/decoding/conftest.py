"""A language of a few tokens whose every prefix has probabilities of its own, and small untrained models."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from heedful.data.config import DataConfig
from heedful.data.tokenizer import Tokenizer, Tokenizers
from heedful.decoding.config import SearchConfig
from heedful.decoding.translator import Translator
from heedful.model.build import build_model
from heedful.model.config import ModelConfig, RecurrentConfig, TransformerConfig
from heedful.model.seq2seq import Seq2Seq

BOS, EOS, WORDS = 0, 1, (2, 3, 4)


@cache
def next_log_probs(sentence: int, history: tuple[int, ...]) -> Tensor:
    """Of every token after `history`, which begins with BOS; float64, BOS impossible."""
    seed = hash((sentence, *history)) % 2**31
    logits = 1.7 * torch.randn(2 + len(WORDS), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    logits[BOS] = -torch.inf
    return logits.log_softmax(0)


@dataclass(frozen=True)
class History:
    """A state that knows only which sentence a sequence belongs to and what it has been fed."""

    sentences: Tensor
    fed: Tensor
    width: int

    @classmethod
    def start(cls, sentences: int, width: int) -> "History":
        rows = torch.arange(sentences).repeat_interleave(width)
        return cls(rows, torch.empty(len(rows), 0, dtype=torch.int64), width)

    def reorder(self, rows: Tensor) -> "History":
        assert torch.equal(self.sentences[rows], self.sentences), "a sequence continues one of its own sentence"
        return History(self.sentences, self.fed[rows], self.width)

    def select(self, sentences: Tensor) -> "History":
        rows = torch.cat([torch.arange(self.width) + self.width * int(sentence) for sentence in sentences])
        return History(self.sentences[rows], self.fed[rows], self.width)


def step(tokens: Tensor, state: History) -> tuple[Tensor, History]:
    state = History(state.sentences, torch.cat((state.fed, tokens.unsqueeze(1)), 1), state.width)
    histories = zip(state.sentences.tolist(), state.fed.tolist(), strict=True)
    return torch.stack([next_log_probs(sentence, tuple(fed)) for sentence, fed in histories]).float(), state


def log_prob(sentence: int, tokens: tuple[int, ...]) -> float:
    """Of a whole sequence, which ends in EOS."""
    history = (BOS, *tokens)
    return sum(float(next_log_probs(sentence, history[: i + 1])[token]) for i, token in enumerate(tokens))


def all_sequences(max_length: int) -> Iterator[tuple[int, ...]]:
    """Every sequence of at most `max_length` tokens, EOS included."""
    for words in range(max_length):
        yield from ((*sequence, EOS) for sequence in product(WORDS, repeat=words))


LINES = [
    "A dog runs.",
    "Two men by a red car!",
    "그 개는 달린다",
    "El perro",
    "Eine Frau mit rotem Hut liest vor",
    "x",
    "A child",
]

CONFIGS: dict[str, ModelConfig] = {
    "transformer": TransformerConfig(layers=2, d_model=14, d_ff=23, heads=2),
    "prenorm": TransformerConfig(layers=1, decoder_layers=3, d_model=14, d_ff=23, heads=2, norm_position="pre"),
    "rotary": TransformerConfig(layers=2, d_model=12, d_ff=23, heads=2, positions="rotary"),
    "rnn": RecurrentConfig(d_model=14, layers=2),
    "rnn-attention": RecurrentConfig(d_model=14, attention="additive", cell="gru", input_feeding=True),
}


@pytest.fixture(scope="session")
def tokenizers() -> Tokenizers:
    joint = Tokenizer.train(LINES * 3, DataConfig(vocab_size=347))
    return Tokenizers(joint, joint)


def random_model(name: str, tokenizers: Tokenizers, seed: int = 1) -> Seq2Seq[Any, Any]:
    torch.manual_seed(seed)
    return build_model(CONFIGS[name], tokenizers.source.vocab_size, tokenizers.target.vocab_size).eval()


@pytest.fixture(scope="session")
def make_translator(tokenizers: Tokenizers) -> Callable[..., Translator]:
    """(names of configurations, …) → an ensemble of random models, which stops after few tokens."""

    def make(*names: str, **options: Any) -> Translator:
        models = [random_model(name, tokenizers, seed) for seed, name in enumerate(names, start=1)]
        return Translator(models, tokenizers, SearchConfig(max_extra_tokens=3), **options)

    return make


@pytest.fixture(params=list(CONFIGS))
def translator(request: pytest.FixtureRequest, make_translator: Callable[..., Translator]) -> Translator:
    return make_translator(request.param)
