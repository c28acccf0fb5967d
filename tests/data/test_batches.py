from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heedful.data.batches import TrainingData, collate_pairs, epoch_batches
from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus
from heedful.data.encoded import encode
from heedful.data.tokenizer import BOS, EOS, PAD, Tokenizer, Tokenizers
from heedful.errors import HeedfulError

MULTI30K = Path(__file__).parents[3] / "shared" / "data" / "multi30k"


def padding(batches, lengths):
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    return 1 - sum(lengths[batch].sum() for batch in batches) / padded


def same(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def zipf_lengths(pairs, seed=0):
    random = np.random.default_rng(seed)
    source = random.integers(3, 60, pairs)
    return source, np.maximum(1, (source * random.normal(1.1, 0.2, pairs)).astype(int))


def test_a_batch_by_hand():
    batch = collate_pairs([[11, 12, 13], [14], []], [[21], [22, 23, 24], [25, 26]], lines=[7, 5, 9])
    e, p, b = EOS, PAD, BOS
    assert batch.source.tolist() == [[11, 12, 13, e], [14, e, p, p], [e, p, p, p]]
    assert batch.source_mask.tolist() == [[True] * 4, [True, True, False, False], [True, False, False, False]]
    assert batch.target_input.tolist() == [[b, 21, p, p], [b, 22, 23, 24], [b, 25, 26, p]]
    assert batch.target_output.tolist() == [[21, e, p, p], [22, 23, 24, e], [25, 26, e, p]]
    assert batch.target_mask.tolist() == [[True, True, False, False], [True] * 4, [True, True, True, False]]
    assert batch.lines == [7, 5, 9]
    assert (batch.source_tokens, batch.target_tokens) == (7, 9)
    assert batch.source.dtype == batch.target_input.dtype == batch.target_output.dtype == torch.int64
    assert batch.source_mask.dtype == batch.target_mask.dtype == torch.bool
    assert collate_pairs([[5]], [[6]]).lines == [0]


@pytest.mark.parametrize("chosen", [slice(0, 3, 2), [0, 2], torch.tensor([0, 2])])
def test_rows_keep_the_width(chosen):
    batch = collate_pairs([[11], [12, 13, 14], [15]], [[21], [22, 23], [24]], lines=[3, 4, 5]).rows(chosen)
    assert batch.source.tolist() == [[11, EOS, PAD, PAD], [15, EOS, PAD, PAD]]
    assert batch.target_input.tolist() == [[BOS, 21, PAD], [BOS, 24, PAD]]
    assert batch.lines == [3, 5]
    assert batch.target_tokens == 4


def test_moving_a_batch():
    batch = collate_pairs([[11]], [[21]]).to("meta")
    assert batch.source.device.type == batch.target_mask.device.type == "meta"
    assert batch.lines == [0]


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=80),
    st.integers(20, 200),
    st.integers(0, 2**32),
    st.integers(0, 1000),
)
def test_every_pair_once_within_the_budget_on_both_sides(lengths, batch_tokens, seed, epoch):
    source, target = np.array(lengths).T
    batches = epoch_batches(source, target, batch_tokens, seed, epoch)
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = max(source[batch].max(), target[batch].max())
        assert len(batch) * longest <= batch_tokens or len(batch) == 1
    assert same(batches, epoch_batches(source, target, batch_tokens, seed, epoch))


def test_budget_is_used():
    lengths = np.full(100, 7)
    sizes = sorted(map(len, epoch_batches(lengths, lengths, 7 * 13, 1, 0)))
    assert sizes == [100 % 13] + [13] * (100 // 13)


def test_order_depends_on_seed_and_epoch():
    lengths = zipf_lengths(997)
    variants = [epoch_batches(*lengths, 512, seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
    assert not any(same(a, b) for i, a in enumerate(variants) for b in variants[:i])
    contents = [{frozenset(batch.tolist()) for batch in batches} for batches in variants]
    assert all(len(a & b) < len(a) / 4 for i, a in enumerate(contents) for b in contents[:i])


def test_batches_come_in_no_order_of_length():
    source, target = zipf_lengths(9973)
    batches = epoch_batches(source, target, 512, 3, 0)
    means = np.array([target[batch].mean() for batch in batches])
    correlation = np.corrcoef(means, np.arange(len(means)))[0, 1]
    assert abs(correlation) < 4 / len(means) ** 0.5  # four standard deviations of what chance gives


def test_alike_lengths_are_together():
    source, target = zipf_lengths(29_989)
    batches = epoch_batches(source, target, 4096, 1, 0)
    assert padding(batches, source) < 0.1
    assert padding(batches, target) < 0.1
    fewest = np.maximum(source, target).sum() / 4096
    assert len(batches) < 1.15 * fewest


def test_weights_are_visits_an_epoch():
    pairs, ranges, weights = 60, [(0, 10), (10, 23), (23, 60)], [2, 0.3, 1.25]
    lengths = np.full(pairs, 5)
    epochs = 400
    visits = np.zeros(pairs)
    for epoch in range(epochs):
        once = np.bincount(np.concatenate(epoch_batches(lengths, lengths, 50, 1, epoch, ranges, weights)), minlength=60)
        assert set(once[:10]) == {2}
        assert set(once[10:23]) <= {0, 1}
        assert set(once[23:]) <= {1, 2}
        visits += once
    average = visits / epochs
    for (start, stop), weight in zip(ranges, weights, strict=True):
        fraction = weight % 1
        deviation = (fraction * (1 - fraction) / epochs) ** 0.5
        assert np.abs(average[start:stop] - weight).max() < 5 * deviation + 1e-12
        # a whole corpus's visits vary by rounding alone, at most half a visit either way
        assert abs(average[start:stop].sum() - weight * (stop - start)) < 5 * 0.5 / epochs**0.5


def test_weight_zero_leaves_a_corpus_out():
    lengths = np.full(20, 5)
    batches = epoch_batches(lengths, lengths, 50, 1, 0, [(0, 10), (10, 20)], [0.0, 1.0])
    assert sorted(np.concatenate(batches)) == list(range(10, 20))
    assert epoch_batches(lengths[:1], lengths[:1], 50, 1, 0, [(0, 1)], [1e-9]) == []


PAIRS = [(f"the source line {n}" + " and more" * (n % 7), f"die Zeile {n}" + " und mehr" * (n % 5)) for n in range(97)]


@pytest.fixture(scope="module")
def tokenizers():
    joint = Tokenizer.train([text for pair in PAIRS for text in pair], DataConfig(vocab_size=320))
    return Tokenizers(joint, joint)


def write(directory, name, pairs):
    path = directory / f"{name}.tsv"
    path.write_text("".join(f"{source}\t{target}\n" for source, target in pairs))
    return Corpus.of(path)


def prepare(directory, tokenizers, pairs=PAIRS, weights=None, **fields):
    corpora = [write(directory, "first", pairs[:40]), write(directory, "second", pairs[40:])]
    config = DataConfig(batch_tokens=256, **fields)
    return TrainingData.prepare(corpora, weights, tokenizers, config, 5, directory / "data")


@pytest.mark.parametrize("sampling", [0.0, 0.3])
def test_training_data(tmp_path, tokenizers, sampling):
    data = prepare(tmp_path, tokenizers, subword_sampling=sampling)
    assert data.pairs == 97
    tokens: list[dict[int, list[int]]] = []
    for epoch in range(2):
        batches = data.batches(epoch)
        tokens.append({})
        assert sorted(np.concatenate(batches).tolist()) == list(range(97))
        for indices in batches:
            batch = data.collate(indices, epoch)
            assert max(batch.source.numel(), batch.target_output.numel()) <= 256
            assert batch.lines == indices.tolist()
            decoded = [
                (tokenizers.source.decode(s), tokenizers.target.decode(t))
                for s, t in zip(batch.source.tolist(), batch.target_output.tolist(), strict=True)
            ]
            assert decoded == [PAIRS[index] for index in indices]
            rows = zip(batch.target_output, batch.target_mask, strict=True)
            tokens[-1] |= dict(zip(batch.lines, (row[mask].tolist() for row, mask in rows), strict=True))
    assert (tokens[0] == tokens[1]) == (sampling == 0)


@pytest.mark.parametrize("sampling", [0.0, 0.3])
def test_first_epochs_in_both_directions(tmp_path, tokenizers, sampling):
    """Whole epochs, as many as come nearest to the number of batches; every pair is there as it is and exchanged."""
    one_way = len(prepare(tmp_path, tokenizers).batches(0))
    data = prepare(tmp_path, tokenizers, subword_sampling=sampling, both_directions=4 * one_way)
    exchanged = [*PAIRS, *((target, source) for source, target in PAIRS)]
    for epoch, pairs in ((0, exchanged), (1, exchanged), (2, PAIRS)):
        batches = data.batches(epoch)
        assert sorted(np.concatenate(batches).tolist()) == list(range(len(pairs)))
        for indices in batches:
            batch = data.collate(indices, epoch)
            assert max(batch.source.numel(), batch.target_output.numel()) <= 256
            decode = tokenizers.source.decode
            sides = batch.source.tolist(), batch.target_output.tolist()
            assert [(decode(s), decode(t)) for s, t in zip(*sides, strict=True)] == [pairs[index] for index in indices]
            if not sampling:
                lengths = batch.source_mask.sum(1).tolist(), batch.target_mask.sum(1).tolist()
                assert tuple(each.tolist() for each in data.lengths(indices)) == lengths
    assert data.describe(np.array([97 + 41])) == data.describe(np.array([41]))


def test_a_corpus_of_which_one_epoch_is_too_long_has_none_in_both_directions(tmp_path, tokenizers, caplog):
    data = prepare(tmp_path, tokenizers, both_directions=1)
    assert max(map(max, data.batches(0))) < 97
    assert "no epoch is in both directions" in caplog.text


def test_an_empty_epoch_in_both_directions_is_none(tmp_path, tokenizers):
    assert prepare(tmp_path, tokenizers, weights=[0.0, 1e-9], both_directions=5).batches(0) == []


def test_weights_hold_in_both_directions(tmp_path, tokenizers):
    data = prepare(tmp_path, tokenizers, weights=[3, 1], both_directions=1000)
    assert sum(map(len, data.batches(0))) == 2 * (3 * 40 + 57)


@pytest.mark.parametrize("sampling", [0.0, 0.3])
def test_a_resumed_run_sees_the_same_batches(tmp_path, tokenizers, sampling):
    def epoch(data, number):
        return [data.collate(indices, number).source.tolist() for indices in data.batches(number)]

    first = prepare(tmp_path, tokenizers, subword_sampling=sampling)
    epochs = [epoch(first, number) for number in range(3)]
    resumed = prepare(tmp_path, tokenizers, subword_sampling=sampling)
    assert epoch(resumed, 1) == epochs[1]
    assert epoch(resumed, 2) == epochs[2]
    assert resumed.digest == first.digest


def test_the_last_epoch_stays_while_the_next_is_prepared(tmp_path, tokenizers, monkeypatch):
    data = prepare(tmp_path, tokenizers, subword_sampling=0.3)
    [indices, *_] = data.batches(4)
    before = data.collate(indices, 4).source.tolist()
    data.batches(5)
    monkeypatch.delattr("heedful.data.batches.encode")
    assert data.collate(indices, 4).source.tolist() == before
    data.collate(indices, 5)


def test_describe_names_files_and_lines(tmp_path, tokenizers):
    data = prepare(tmp_path, tokenizers)
    where = data.describe(np.array([41, 3, 0, 40]))
    assert where == f"{tmp_path / 'first.tsv'} lines 1, 4; {tmp_path / 'second.tsv'} lines 1, 2"
    assert data.describe(np.arange(33)).endswith("19, 20 and 13 more")


def test_files_that_change_while_training(tmp_path, tokenizers):
    data = prepare(tmp_path, tokenizers, subword_sampling=0.3)
    data.batches(0)
    write(tmp_path, "second", PAIRS[41:])
    with pytest.raises(HeedfulError, match=r"training files changed since the start .*second.tsv"):
        data.batches(1)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -0.5], [0.0, 0.0]])
def test_bad_weights(tmp_path, tokenizers, weights):
    with pytest.raises(HeedfulError, match="one each, above 0"):
        prepare(tmp_path, tokenizers, weights=weights)


def test_weights_reach_the_batches(tmp_path, tokenizers):
    data = prepare(tmp_path, tokenizers, weights=[3, 1])
    assert sum(map(len, data.batches(0))) == 3 * 40 + 57


@pytest.mark.real_data
def test_padding_on_multi30k(tmp_path):
    if not MULTI30K.is_dir():
        pytest.skip(f"{MULTI30K} is absent")
    corpus = Corpus.of([MULTI30K / "train.en", MULTI30K / "train.de"])
    config = DataConfig()
    joint = Tokenizer.train((pair[side] for side in (0, 1) for pair in corpus.pairs()), config)
    encoded = encode([corpus], Tokenizers(joint, joint), config, tmp_path)
    assert len(encoded) == 29_000
    batches = epoch_batches(encoded.source_lengths, encoded.target_lengths, config.batch_tokens, 1, 0)
    assert padding(batches, encoded.source_lengths) < 0.1
    assert padding(batches, encoded.target_lengths) < 0.1
