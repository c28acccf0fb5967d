"""Section 5.1: a vocabulary for both languages, pairs of like length together, some 25,000 tokens on each side."""

from pathlib import Path

import numpy as np
import pytest
import torch

from heedful.data.batches import collate_pairs, epoch_batches
from heedful.data.corpus import Corpus
from heedful.recipes.named import recipe
from heedful.recipes.run import learn_tokenizers
from heedful.training import distributed, trainer

PAIRS = 200_000


@pytest.fixture(scope="module")
def lengths() -> tuple[np.ndarray, np.ndarray]:
    """As of a news corpus: some 27 tokens, widely spread, the two sides alike but not equal."""
    random = np.random.default_rng(1)
    source = np.clip(random.lognormal(3.1, 0.6, PAIRS), 1, 250)
    target = np.clip(source * random.normal(1.05, 0.1, PAIRS), 1, 250)
    return source.astype(np.int32) + 1, target.astype(np.int32) + 1


@pytest.mark.parametrize(("name", "pieces"), [("base", 37_000), ("base-en-fr", 32_000)])
def test_source_and_target_share_their_vocabulary(name: str, pieces: int, tmp_path: Path) -> None:
    lines = {"en": "the dog runs and the cats sleep\n" * 50, "de": "der Hund rennt und die Katzen schlafen\n" * 50}
    paths = [tmp_path / f"text.{language}" for language in lines]
    for path, text in zip(paths, lines.values(), strict=True):
        path.write_text(text)
    base = recipe(name)
    assert base.data.vocab_size == pieces
    small = base.override({"vocab_size": 340})
    tokenizers = learn_tokenizers([Corpus.of(tuple(paths))], small)
    assert tokenizers.joint
    assert tokenizers.source is tokenizers.target
    for text in lines.values():  # a word that was seen so often is one piece, in either language
        words = text.splitlines()[0].split()
        assert len(tokenizers.source.encode(" ".join(words))) == len(words)


def test_a_batch_has_about_25000_source_and_25000_target_tokens(lengths: tuple[np.ndarray, np.ndarray]) -> None:
    """Real ones; `batch_tokens` is their upper end, padding included, which grows less with the corpus."""
    source, target = lengths
    batches = epoch_batches(source, target, recipe("base").data.batch_tokens, seed=1, epoch=0)
    for side in lengths:
        real = [int(side[batch].sum()) for batch in batches]
        assert max(real) <= 25_000
        assert 0.85 * 25_000 < sum(real) / len(real) <= 25_000
    assert sorted(np.concatenate(batches).tolist()) == list(range(PAIRS))


def test_pairs_stand_together_by_length(lengths: tuple[np.ndarray, np.ndarray]) -> None:
    source, target = lengths
    batches = epoch_batches(source, target, 25_000, seed=1, epoch=0)
    for side in lengths:
        within = np.mean([side[batch].std() for batch in batches])
        assert within < 0.2 * side.std()
    assert len({len(batch) for batch in batches}) > 20


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_the_batch_is_the_same_whatever_the_number_of_gpus(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has its part, in pieces that it can hold; together they are the batch, every pair once."""
    random = np.random.default_rng(2)
    # the target is the wider side
    sides = [[random.integers(4, 99, size=n).tolist() for n in random.integers(1, most, 101)] for most in (30, 60)]
    batch = collate_pairs(*sides)
    monkeypatch.setattr(distributed, "world_size", lambda: world)
    lines: list[int] = []
    tokens = 0
    for rank in range(world):
        monkeypatch.setattr(distributed, "rank", lambda rank=rank: rank)
        shard, share = trainer._shard(batch)
        pieces = shard.cut(211)
        assert share == 1
        assert all(max(piece.source.numel(), piece.target_output.numel()) <= 211 for piece in pieces)
        assert len(pieces) > 1
        lines += [line for piece in pieces for line in piece.lines]
        tokens += sum(piece.target_tokens for piece in pieces)
    assert sorted(lines) == list(range(101))
    assert tokens == batch.target_tokens


def test_a_piece_holds_at_least_one_pair() -> None:
    batch = collate_pairs([[5] * 9, [6]], [[7] * 3, [8]])
    pieces = batch.cut(4)
    assert [piece.lines for piece in pieces] == [[0], [1]]
    assert torch.equal(pieces[1].source, batch.source[1:])
    [whole] = batch.cut(None)
    assert whole is batch
