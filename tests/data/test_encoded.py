import errno
import shutil
import threading

import numpy as np
import pytest

from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus
from heedful.data.encoded import encode
from heedful.data.tokenizer import EOS, PAD, Tokenizer, Tokenizers
from heedful.errors import HeedfulError

PAIRS = [(f"line {n} of the source " + "word " * (n % 7), f"Zeile {n} im Ziel " + "Wort " * (n % 5)) for n in range(53)]


def write(directory, pairs, name="train"):
    paths = [directory / f"{name}.en", directory / f"{name}.de"]
    for side, path in enumerate(paths):
        path.write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
    return Corpus.of(paths)


@pytest.fixture(scope="module")
def tokenizers():
    source, target = (Tokenizer.train([pair[side] for pair in PAIRS], DataConfig(vocab_size=300)) for side in (0, 1))
    return Tokenizers(source, target)


@pytest.fixture
def corpus(tmp_path):
    return write(tmp_path, PAIRS)


@pytest.fixture
def count_calls(monkeypatch):
    """How often each method of a tokenizer was called."""
    calls = {"encode_all": 0, "sample_all": 0}

    def counting(name, method):
        def call(*arguments):
            calls[name] += 1
            return method(*arguments)

        return call

    for name in calls:
        monkeypatch.setattr(Tokenizer, name, counting(name, getattr(Tokenizer, name)))
    return calls


def ids_of(rows, index):
    """One pair's side, its padding left out."""
    (row,), (mask,) = rows(np.array([index]))
    return row[mask].tolist()


def texts(encoded, tokenizers):
    return [
        (tokenizers.source.decode(ids_of(encoded.sources, i)), tokenizers.target.decode(ids_of(encoded.targets, i)))
        for i in range(len(encoded))
    ]


def left(directory):
    return sorted(path.name for path in directory.iterdir() if path.name != ".lock")


def test_tokens_lengths_and_lines_of_several_corpora(tmp_path, tokenizers, corpus):
    second = write(tmp_path, [("only", "nur"), ("two", "zwei")], "more")
    encoded = encode([corpus, second], tokenizers, DataConfig(), tmp_path / "data")
    assert len(encoded) == 55
    assert encoded.ranges == [(0, 53), (53, 55)]
    for index, (source, target) in enumerate([*PAIRS, ("only", "nur"), ("two", "zwei")]):
        assert ids_of(encoded.sources, index) == [*tokenizers.source.encode(source), EOS]
        assert ids_of(encoded.targets, index) == [*tokenizers.target.encode(target), EOS]
        assert encoded.source_lengths[index] == len(ids_of(encoded.sources, index))
        assert encoded.target_lengths[index] == len(ids_of(encoded.targets, index))
    assert encoded.line(52) == (tmp_path / "train.en", 53)
    assert encoded.line(54) == (tmp_path / "more.en", 2)


def test_several_pairs_as_rows(tmp_path, tokenizers, corpus):
    encoded = encode([corpus], tokenizers, DataConfig(), tmp_path / "data")
    chosen = np.array([17, 3, 52, 3])
    for rows, lengths in ((encoded.sources, encoded.source_lengths), (encoded.targets, encoded.target_lengths)):
        padded, mask = rows(chosen)
        assert mask.sum(1).tolist() == lengths[chosen].tolist()
        assert (padded[~mask] == PAD).all()
        assert [row[real].tolist() for row, real in zip(padded, mask, strict=True)] == [
            ids_of(rows, index) for index in chosen
        ]


def test_chunks_join(tmp_path, tokenizers, corpus, monkeypatch):
    monkeypatch.setattr("heedful.data.encoded._CHUNK", 7)
    config = DataConfig(subword_sampling=0.2)
    assert texts(encode([corpus], tokenizers, config, tmp_path / "a"), tokenizers) == PAIRS
    assert texts(encode([corpus], tokenizers, config, tmp_path / "a", seed=3), tokenizers) == PAIRS


def test_large_vocabularies_take_four_bytes(tmp_path, tokenizers, corpus, monkeypatch):
    monkeypatch.setattr(Tokenizer, "vocab_size", property(lambda _: 65_537))
    encoded = encode([corpus], tokenizers, DataConfig(), tmp_path / "data")
    [file] = (tmp_path / "data").rglob("source.tokens")
    assert file.stat().st_size == 4 * encoded.source_lengths.sum()
    assert texts(encoded, tokenizers) == PAIRS


def test_blank_and_long_pairs_are_skipped_and_counted(tmp_path, tokenizers, caplog):
    length = len(tokenizers.source.encode("word " * 10))
    config = DataConfig(max_length=length + 1)
    pairs = [
        ("word " * 10, "fits"),
        ("word " * 11, "one too many"),
        ("", "no source"),
        ("no target", " \u00a0\t"),
        ("other side", "Wort " * 99),
        ("kept", "ja"),
    ]
    encoded = encode([write(tmp_path, pairs)], tokenizers, config, tmp_path / "data")
    assert texts(encoded, tokenizers) == [pairs[0], pairs[5]]
    assert [encoded.line(index)[1] for index in range(2)] == [1, 6]
    reasons = {"with an empty side": 2, f"longer than {length + 1} tokens": 2}
    assert encoded.skipped == reasons
    [record] = caplog.records
    assert record.message.startswith("skipped 4 of 6 training pairs: ")
    assert all(f"{count} {reason}" in record.message for reason, count in reasons.items())


def test_the_limit_includes_the_end_symbol(tmp_path, tokenizers):
    corpus = write(tmp_path, [("word and line 7", "Wort"), ("line", "Zeile und Wort 7"), ("a", "b")])
    for side, tokenizer in enumerate((tokenizers.source, tokenizers.target)):
        tokens = len(tokenizer.encode(list(corpus.pairs())[side][side]))
        for max_length in (tokens, tokens + 1):
            encoded = encode([corpus], tokenizers, DataConfig(max_length=max_length), tmp_path / "data")
            assert (side + 1 in encoded.lines) == (max_length == tokens + 1)


def test_a_line_that_must_be_too_long_is_not_tokenised(tmp_path, tokenizers, monkeypatch):
    seen = []
    method = Tokenizer.encode_all
    monkeypatch.setattr(
        Tokenizer, "encode_all", lambda self, texts, threads: seen.extend(texts) or method(self, texts, threads)
    )
    limit = 16 * 5
    pairs = [("x" * (limit + 1), "a"), ("y" * limit, "b"), ("c", "x" * 10_000_000), ("d", "e")]
    encoded = encode([write(tmp_path, pairs)], tokenizers, DataConfig(max_length=5), tmp_path / "data")
    assert set(seen) == {"d", "b", "e", "y" * limit}
    assert texts(encoded, tokenizers) == [("d", "e")]


def test_no_pair_left(tmp_path, tokenizers):
    pairs = [("", "a"), ("word " * 99, "b")]
    with pytest.raises(HeedfulError, match=r"no training pair is left of 2: 1 with an empty side, 1 longer than 9 to"):
        encode([write(tmp_path, pairs)], tokenizers, DataConfig(max_length=9), tmp_path / "data")
    assert left(tmp_path / "data") == []


def test_encoded_once_while_nothing_changes(tmp_path, tokenizers, corpus, count_calls):
    data = tmp_path / "data"
    config = DataConfig()
    encode([corpus], tokenizers, config, data)
    before = count_calls["encode_all"]
    encode([corpus], tokenizers, DataConfig(batch_tokens=7), data)
    (tmp_path / "moved").mkdir()
    moved = Corpus.of([shutil.copy(path, tmp_path / "moved") for path in corpus.paths])
    assert encode([moved], tokenizers, config, data).line(0) == (tmp_path / "moved" / "train.en", 1)
    assert count_calls["encode_all"] == before
    for change in (
        lambda: encode([write(tmp_path, PAIRS[:-1])], tokenizers, config, data),
        lambda: encode([corpus, corpus], tokenizers, config, data),
        lambda: encode([corpus], Tokenizers(tokenizers.source, tokenizers.source), config, data),
        lambda: encode([corpus], tokenizers, DataConfig(max_length=99), data),
    ):
        before = count_calls["encode_all"]
        change()
        assert count_calls["encode_all"] > before


def _altered(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [lambda content: content[:-9], _altered], ids=["truncated", "altered"])
@pytest.mark.parametrize("name", ["source.tokens", "target.ends", "lines", "encoded.json"])
def test_damaged_files_are_made_again(tmp_path, tokenizers, corpus, caplog, name, damage):
    encode([corpus], tokenizers, DataConfig(), tmp_path / "data")
    [home] = (tmp_path / "data").glob("plain-*")
    (home / name).write_bytes(damage((home / name).read_bytes()))
    caplog.clear()
    encoded = encode([corpus], tokenizers, DataConfig(), tmp_path / "data")
    assert "is damaged; the corpus is encoded again" in caplog.text
    assert texts(encoded, tokenizers) == PAIRS


def test_interruption_and_full_disk_leave_nothing(tmp_path, tokenizers, corpus, monkeypatch):
    data = tmp_path / "data"

    def failing(error):
        def fail(*_):
            raise error

        return fail

    with monkeypatch.context() as patch:
        patch.setattr(Tokenizer, "encode_all", failing(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            encode([corpus], tokenizers, DataConfig(), data)
    assert left(data) == []
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", failing(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(HeedfulError, match=r"cannot write the encoded corpus to .*data: No space left"):
            encode([corpus], tokenizers, DataConfig(), data)
    assert left(data) == []
    (data / "file").touch()
    with pytest.raises(HeedfulError, match=r"cannot write to .*file"):
        encode([corpus], tokenizers, DataConfig(), data / "file")


def test_what_a_killed_process_left_is_removed(tmp_path, tokenizers, corpus):
    data = tmp_path / "data"
    encode([corpus], tokenizers, DataConfig(), data)
    [home] = data.glob("plain-*")
    home.rename(data / f"{home.name}.partial")
    (data / f"{home.name}.partial" / "lines").write_text("half")
    assert len(encode([corpus], tokenizers, DataConfig(), data)) == 53
    assert left(data) == [home.name]


def test_two_at_once_work_once(tmp_path, tokenizers, corpus, count_calls):
    results = []
    threads = [
        threading.Thread(target=lambda: results.append(encode([corpus], tokenizers, DataConfig(), tmp_path / "data")))
        for _ in range(5)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [texts(result, tokenizers) for result in results] == [PAIRS] * 5
    assert count_calls["encode_all"] == 2  # one a side


def test_sampled_segmentations(tmp_path, tokenizers, count_calls):
    pairs = [*PAIRS[:20], ("", "blank"), *PAIRS[20:]]
    corpora = [write(tmp_path, pairs), write(tmp_path, PAIRS, "more")]
    config = DataConfig(subword_sampling=0.2)
    data = tmp_path / "data"
    plain = encode(corpora, tokenizers, config, data)

    def tokens(seed, directory=data):
        drawn = encode(corpora, tokenizers, config, directory, seed)
        assert texts(drawn, tokenizers) == PAIRS * 2
        assert drawn.lines.tolist() == plain.lines.tolist()
        assert drawn.ranges == plain.ranges
        return [ids_of(drawn.sources, i) + ids_of(drawn.targets, i) for i in range(len(drawn))]

    first, second = tokens(1), tokens(2)
    assert first != second
    assert first[:53] != first[53:]  # no two corpora share a draw
    assert tokens(1, tmp_path / "elsewhere") == first
    assert len(list(data.glob("sampled-*"))) == 1
    before = dict(count_calls)
    assert tokens(2) == second  # still there
    assert count_calls == before


def test_draws_of_another_sampler_are_not_taken(tmp_path, tokenizers, corpus, count_calls, monkeypatch):
    config = DataConfig(subword_sampling=0.2)
    encode([corpus], tokenizers, config, tmp_path, seed=5)
    monkeypatch.setattr("heedful.data.sampling.VERSION", 0)
    encode([corpus], tokenizers, config, tmp_path, seed=5)
    assert count_calls == {"encode_all": 2, "sample_all": 4}  # one a side


def test_a_draw_that_is_too_long_gives_way_to_the_plain_segmentation(tmp_path, tokenizers, corpus):
    longest = encode([corpus], tokenizers, DataConfig(), tmp_path / "any").source_lengths.max()
    config = DataConfig(subword_sampling=0.3, max_length=int(longest))
    plain = encode([corpus], tokenizers, config, tmp_path / "data")
    gave_way = 0
    for seed in range(7):
        drawn = encode([corpus], tokenizers, config, tmp_path / "data", seed)
        assert drawn.source_lengths.max() == longest  # some draws just fit
        assert texts(drawn, tokenizers) == PAIRS
        gave_way += sum(ids_of(drawn.sources, i) == ids_of(plain.sources, i) for i in range(len(PAIRS)))
    assert gave_way > 7


def test_without_sampling_a_seed_means_nothing(tmp_path, tokenizers, corpus):
    encode([corpus], tokenizers, DataConfig(), tmp_path / "data", seed=5)
    assert [name.partition("-")[0] for name in left(tmp_path / "data")] == ["plain"]
