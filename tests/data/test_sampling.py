"""Random segmentations against SentencePiece, against Algorithm 1 of BPE-dropout followed through all its choices,
and against all segmentations that a unigram model allows."""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heedful.data.config import DataConfig
from heedful.data.sampling import SubwordSampler
from heedful.data.tokenizer import EOS, Tokenizer
from heedful.errors import HeedfulError

MULTI30K = Path(__file__).parents[3] / "shared" / "data" / "multi30k"
MARKS = "\u2581\u2585"
SENTENCES = [
    f"{who} {what} {where}."
    for who in ("The old dog", "Ein kleiner Hund", "Zwei Männer", "Someone")
    for what in ("runs across", "läuft über", "looks at", "springt auf")
    for where in ("the street", "die Straße", "a field 1973", "日本語の本")
]
LETTERS = "aeinrst.ßü日本語17 "
texts = st.text(
    st.one_of(st.sampled_from(LETTERS), st.characters(codec="utf-8"), st.sampled_from(f" \u00a0\n\r\0{MARKS}é🐕"))
)
PIECES = {" ": 300, "a": 301, "b": 302, "c": 303, " a": 304, "ab": 305, "bc": 306, "abc": 307, "bcab": 308, " ab": 309}
SCORES = [0.0] * 300 + [-2.0, -2.5, -3.0, -3.5, -3.25, -2.75, -2.25, -1.5, -1.0, -1.75]


@pytest.fixture(scope="module")
def bpe():
    return Tokenizer.train(SENTENCES, DataConfig(vocab_size=370))


@pytest.fixture(scope="module")
def digits_split():
    return Tokenizer.train(SENTENCES, DataConfig(vocab_size=370, split_digits=True))


@pytest.fixture(scope="module")
def unigram():
    return Tokenizer.train(SENTENCES, DataConfig(vocab_size=370, tokenizer="unigram"))


def sampler(unigram):
    return SubwordSampler(PIECES, SCORES, unigram, 4)


def learned(tokenizer):
    """Text → score of the pieces that are neither special nor bytes."""
    model = tokenizer._processor
    return {
        name.replace("▁", " "): model.get_score(model.piece_to_id(name))
        for name in tokenizer.pieces(range(260, tokenizer.vocab_size))
    }


def algorithm_1(word, pieces, p):
    """How probable each segmentation is: Provilkov et al. (2020), Algorithm 1, with its `merges` in order of priority.

    A loop's merge is the k-th best where the k better ones were removed and it was not: (1 − p) pᵏ; none is left
    of n with pⁿ.
    """

    @cache
    def ends(split):
        merges = sorted((-pieces[a + b], i) for i, (a, b) in enumerate(pairwise(split)) if a + b in pieces)
        found = Counter({split: p ** len(merges)})
        for k, (_, i) in enumerate(merges):
            for end, probability in ends((*split[:i], split[i] + split[i + 1], *split[i + 2 :])).items():
                found[end] += (1 - p) * p**k * probability
        return found

    return ends(tuple(word))


def all_paths(word, pieces, alpha):
    """How probable each segmentation is under a unigram model: ∝ Π exp(α score) (Kudo 2018, Section 3.2)."""

    def cuts(rest):
        if not rest:
            yield (), 0.0
        for end in range(1, len(rest) + 1):
            if rest[:end] in pieces:
                for tail, score in cuts(rest[end:]):
                    yield (rest[:end], *tail), pieces[rest[:end]] + score

    weights = {path: math.exp(alpha * score) for path, score in cuts(word)}
    return {path: weight / sum(weights.values()) for path, weight in weights.items()}


def assert_drawn_from(expected, drawn):
    """Pearson's χ², five standard deviations above its mean at most; rare outcomes are pooled."""
    assert sum(expected.values()) == pytest.approx(1)
    assert set(drawn) <= set(expected)
    total = sum(drawn.values())
    cells = [(drawn[outcome], total * probability) for outcome, probability in expected.items()]
    rare = [cell for cell in cells if cell[1] < 5]
    cells = [cell for cell in cells if cell[1] >= 5] + ([tuple(map(sum, zip(*rare, strict=True)))] if rare else [])
    chi_square = sum((seen - mean) ** 2 / max(mean, 1) for seen, mean in cells)
    assert len(cells) > 3
    assert chi_square < len(cells) - 1 + 5 * math.sqrt(2 * (len(cells) - 1))


def draws(tokenizer, word, alpha, count=30_000):
    """Segmentations of a word, in pieces with a space for ▁."""
    names = {token: name.replace("▁", " ") for token, name in enumerate(tokenizer.pieces(range(tokenizer.vocab_size)))}
    return Counter(tuple(names[token] for token in ids) for ids in tokenizer.sample_all([word] * count, 5, alpha))


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, max_size=4))
@example(["  leading, trailing  and   inner spaces ", "", " ", "   "])
@example([f"{MARKS}{MARKS[::-1]} x{MARKS}", "The The", "11937 1"])
@example(["<s></s><unk><pad><0x41> <s>", "ab\rc\nd\0e", "\ufeffﬁ Ａ ① e\u0301 \u2028\x85\t\u3000"])
def test_bpe_dropout_of_zero_is_the_ordinary_segmentation(bpe, digits_split, lines):
    for tokenizer in (bpe, digits_split):
        assert tokenizer.sample_all(lines, 3, 0.0) == [tokenizer.encode(line) for line in lines]


def test_words_of_any_length_and_batches_of_any_size(bpe, monkeypatch):
    long = "".join(SENTENCES).replace(" ", "")
    lines = [*SENTENCES, long, f" {long}  {long} ", *SENTENCES, "", "日本語の本" * 300]
    expected = bpe.encode_all(lines)
    assert bpe.sample_all(lines, 3, 0.0) == expected
    monkeypatch.setattr("heedful.data.sampling._BATCH", 37)
    assert bpe.sample_all(lines, 3, 0.0) == expected


@pytest.mark.real_data
def test_bpe_dropout_of_zero_on_multi30k():
    if not MULTI30K.is_dir():
        pytest.skip(f"{MULTI30K} is absent")
    lines = [line for side in ("en", "de") for line in (MULTI30K / f"train.{side}").read_text().split("\n")[:5000]]
    tokenizer = Tokenizer.train(lines[::3], DataConfig(vocab_size=2000))  # so that others hold unseen characters
    assert tokenizer.sample_all(lines, 3, 0.0) == tokenizer.encode_all(lines, threads=2)


@settings(max_examples=150, deadline=None)
@given(st.lists(texts, min_size=1, max_size=3), st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.5, 0.95]))
def test_every_draw_is_the_same_text(bpe, unigram, lines, seed, alpha):
    for tokenizer in (bpe, unigram):
        drawn = tokenizer.sample_all(lines, seed, alpha)
        assert list(map(tokenizer.decode, drawn)) == list(map(tokenizer.decode, tokenizer.encode_all(lines)))
        assert min(min(ids, default=EOS + 1) for ids in drawn) > EOS


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("word", ["street", "Straße", "across."])
def test_bpe_dropout_draws_as_algorithm_1_does(bpe, word, alpha):
    assert_drawn_from(algorithm_1(f" {word}", learned(bpe), alpha), draws(bpe, word, alpha))


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("word", ["street", "lookstreet", "acrosspringt"])
def test_unigram_draws_as_all_segmentations_say(unigram, word, alpha):
    assert_drawn_from(all_paths(f" {word}", learned(unigram), alpha), draws(unigram, word, alpha))


@pytest.mark.parametrize("distribution", [algorithm_1, all_paths])
def test_words_are_drawn_independently(distribution):
    pieces = {piece: SCORES[token] for piece, token in PIECES.items()}
    one = distribution(" abcab", pieces, 0.4)
    pairs = {a + b: one[a] * one[b] for a in one for b in one}
    names = {token: piece for piece, token in PIECES.items()}
    drawn = sampler(distribution is all_paths).sample(["abcab abcab"] * 40_000, 7, 0.4)
    assert_drawn_from(pairs, Counter(tuple(names[token] for token in ids) for ids in drawn))


def test_unknown_characters_stay_apart():
    """é is no piece: two bytes, and nothing merges across it."""
    for unigram in (False, True):
        drawn = {tuple(ids) for ids in sampler(unigram).sample(["abéab"] * 200, 3, 0.5)}
        assert {300, 301, 302} < {token for ids in drawn for token in ids}
        for ids in drawn:
            place = ids.index(4 + 0xC3)
            assert ids[place + 1] == 4 + 0xA9
            assert set(ids[:place]) <= {300, 301, 302, 304, 305, 309}
            assert ids[place + 2 :] in ((301, 302), (305,))


def test_words_without_end_do_not_underflow(unigram):
    text = "日" + "abcab" * 2000
    drawn = unigram.sample_all([text], 3, 1.0)[0]
    assert unigram.decode(drawn) == text


def test_half_a_surrogate_pair_is_no_text(bpe, unigram):
    for tokenizer in (bpe, unigram):
        with pytest.raises(HeedfulError, match="surrogate"):
            tokenizer.sample_all(["fine", "a\ud800"], 3, 0.1)


def test_the_draws_themselves_are_kept():
    """Runs that go on after an update of heedful need them; `VERSION` must rise with these."""
    lines = ["abcab cab", "bcab" * 9, "aé  bca"] * 7
    digests = [
        hashlib.sha256(json.dumps(sampler(unigram).sample(lines, 2**32 - 1, 0.3)).encode()).hexdigest()[:16]
        for unigram in (False, True)
    ]
    assert digests == ["18ee26d8af2542c9", "6972b6aad79f5701"]


def test_every_process_draws_the_same(tmp_path, bpe, unigram):
    script = """
import json, sys
from heedful.data.tokenizer import Tokenizer
print(json.dumps([Tokenizer.load(path).sample_all(json.loads(sys.argv[1]), 11, 0.4) for path in sys.argv[2:]]))
"""
    tokenizers = {"bpe": bpe, "unigram": unigram}
    for name, tokenizer in tokenizers.items():
        tokenizer.save(tmp_path / name)
    command = [sys.executable, "-c", script, json.dumps(SENTENCES), *(str(tmp_path / name) for name in tokenizers)]
    drawn = [
        json.loads(
            subprocess.run(
                command, capture_output=True, check=True, timeout=60, env=os.environ | {"PYTHONHASHSEED": seed}
            ).stdout
        )
        for seed in ("1", "2")
    ]
    assert drawn[0] == drawn[1] == [tokenizer.sample_all(SENTENCES, 11, 0.4) for tokenizer in tokenizers.values()]
