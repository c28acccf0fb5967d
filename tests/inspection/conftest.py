"""Inspections with random weights, lengths that are prime, and a browser where there is one."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from chromium import Browser, find

from heedful.inspection.record import Inspection

SOURCE = ["▁A", "▁dog", "▁run", "s", "▁fast", ".", "</s>"]
TARGET = ["▁Ein", "▁Hund", "▁rennt", ".", "</s>"]


def random_weights(heads: int, queries: int, keys: int, seed: int = 0, causal: bool = False) -> Any:
    """Rows that sum to one, float32 `[head, query, key]`."""
    weights = np.random.default_rng([seed, heads, queries, keys]).exponential(size=(heads, queries, keys)) ** 2
    weights = np.tril(weights) if causal else weights
    return (weights / weights.sum(-1, keepdims=True)).astype(np.float32)


@pytest.fixture
def make() -> Callable[..., Inspection]:
    """An inspection of a Transformer; `heads` lists the number of heads of each layer, `kinds` what it has."""

    def make(
        source_tokens: list[str] = SOURCE,
        tokens: list[str] = TARGET,
        heads: tuple[int, ...] = (3, 3),
        kinds: tuple[str, ...] = ("encoder", "decoder", "cross"),
        **fields: Any,
    ) -> Inspection:
        S, T = len(source_tokens), len(tokens)
        sizes = {"encoder": (S, S), "decoder": (T, T), "cross": (T, S)}
        attention = {
            kind: [random_weights(count, *size, seed, kind == "decoder") for seed, count in enumerate(heads)]
            if kind in kinds
            else None
            for kind, size in sizes.items()
        }
        plain = {"name": "tiny", "source": "A dog runs fast.", "text": "Ein Hund rennt.", "score": -0.25}
        given = {"source_tokens": source_tokens, "tokens": tokens, "attention": attention}
        return Inspection(**(plain | given | fields))

    return make


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if find() is None:
        pytest.skip("no Chromium on this machine")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser
