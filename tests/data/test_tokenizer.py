import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from heedful.data.config import DataConfig
from heedful.data.tokenizer import BOS, EOS, PAD, UNK, Tokenizer, Tokenizers, _sample
from heedful.errors import HeedfulError

SENTENCES = [
    f"{who} {what} {where}."
    for who in ("The old dog", "Ein kleiner Hund", "Zwei Männer", "Someone")
    for what in ("runs across", "läuft über", "looks at", "springt auf")
    for where in ("the street", "die Straße", "a field 1973", "日本語の本")
]
MARKS = "\u2581\u2585"
texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(f" ae\u00a0\n\r\0{MARKS}é日")))


def config(kind="bpe", vocab_size=340, **fields):
    return DataConfig(tokenizer=kind, vocab_size=vocab_size, **fields)


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def tokenizer(request):
    return Tokenizer.train(SENTENCES, config(request.param))


@pytest.fixture(scope="module")
def bpe():
    return Tokenizer.train(SENTENCES, config())


@settings(max_examples=120, deadline=None)
@given(texts)
@example("  leading, trailing  and   inner spaces ")
@example(f"{MARKS}{MARKS[::-1]} x{MARKS}")
@example("ﬁ Ａ ① e\u0301 \ufeff \u2028\x85\t")
@example("<s></s><unk><pad><0x41> <s>")
@example("ab\rc\nd\0e")
def test_every_text_comes_back(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text.translate(dict.fromkeys(b"\0\r\n", " "))
    assert min(ids, default=EOS + 1) > EOS


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_any_tokens_decode_to_one_line_of_unicode(tokenizer, data):
    byte_or_any = st.one_of(st.integers(0, 260), st.integers(0, tokenizer.vocab_size - 1))
    ids = data.draw(st.lists(byte_or_any, max_size=30))
    text = tokenizer.decode(ids)
    assert not set("\0\r\n") & set(text)
    text.encode("utf-8")
    words = tokenizer.word_ids(ids)
    assert len(words) == len(ids)
    assert all(word == -1 for word, token in zip(words, ids, strict=True) if token <= EOS)
    seen = [word for word in words if word >= 0]
    assert seen == sorted(seen)
    assert all(word < len(text.split()) for word in seen)


def test_half_a_surrogate_pair_is_no_text(bpe):
    with pytest.raises(HeedfulError, match="surrogate"):
        bpe.encode("a\udcff")


def test_special_symbols_add_nothing(bpe):
    ids = bpe.encode("Someone runs.")
    mixed = [BOS, ids[0], PAD, *ids[1:], UNK, EOS, PAD]
    assert bpe.decode(mixed) == "Someone runs."
    assert bpe.pieces([PAD, UNK, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert "".join(bpe.pieces(ids)).replace("▁", " ") == " Someone runs."


@settings(max_examples=120, deadline=None)
@given(texts)
def test_words_of_tokens(tokenizer, text):
    """Against the definition, over bytes: start of a token, next visible character, words up to it."""
    ids = tokenizer.encode(text)
    spelled = [
        bytes([token - 4]) if token < 260 else piece.replace("▁", " ").encode()
        for token, piece in zip(ids, tokenizer.pieces(ids), strict=True)
    ]
    spelled = [b" " if part in (b"\0", b"\n", b"\r") else part for part in spelled]
    whole = b"".join(spelled).decode()
    expected = []
    for place in range(len(ids)):
        start = len(b"".join(spelled[:place]).decode("utf-8", "ignore"))
        visible = next((i for i in range(start, len(whole)) if not whole[i].isspace()), None)
        expected.append(-1 if visible is None else len(whole[: visible + 1].split()) - 1)
    assert tokenizer.word_ids(ids) == expected


def test_words_by_hand():
    tokenizer = Tokenizer.train(["ab"] * 9, config())
    ids = [BOS, *tokenizer.encode("ab  é\u2028ab "), EOS]
    names = ["<s>", "▁ab", "▁", "▁", "<0xC3>", "<0xA9>", "<0xE2>", "<0x80>", "<0xA8>", "ab", "▁", "</s>"]
    assert tokenizer.pieces(ids) == names
    assert tokenizer.word_ids(ids) == [-1, 0, 1, 1, 1, 1, 2, 2, 2, 2, -1, -1]
    # a torn character is a character of its own, and joins no word beyond a space
    torn = [4 + 0xC3, *tokenizer.encode("ab"), 4 + 0xE2, 4 + 0x80]
    assert tokenizer.decode(torn) == "\ufffd ab\ufffd"
    assert tokenizer.word_ids(torn) == [0, 1, 1, 1]


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_equal_text_gives_an_equal_vocabulary(kind):
    first = Tokenizer.train(iter(SENTENCES), config(kind))
    assert Tokenizer.train(list(SENTENCES), config(kind)).bytes == first.bytes
    assert Tokenizer.train(SENTENCES[:-7], config(kind)).bytes != first.bytes


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
@pytest.mark.parametrize("vocab_size", [261, 262, 270, 8000])
@pytest.mark.parametrize(
    "sentences",
    [["a"], ["  "] * 3 + ["b"], ["Ein Mann."] * 10, ["日本語", "x"], ["<s> </s> <unk>"] * 50, [f"\r\0{MARKS} x"]],
)
def test_tiny_corpora(kind, vocab_size, sentences):
    tokenizer = Tokenizer.train(sentences, config(kind, vocab_size))
    assert 260 < tokenizer.vocab_size <= max(261, vocab_size)
    for text in ("Ein Mann.", "日本語", "<s>"):
        assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_vocabulary_too_large_is_capped_and_told(kind, caplog):
    tokenizer = Tokenizer.train(SENTENCES, config(kind, 7919))
    assert tokenizer.vocab_size < 7919
    [record] = caplog.records
    assert "7919" in record.message
    assert str(tokenizer.vocab_size) in record.message


def test_vocabulary_too_small_for_the_alphabet_keeps_the_frequent_characters():
    alphabet = [chr(0x4E00 + i) for i in range(500)]
    sentences = ["".join(alphabet), "".join(alphabet[:30]) * 3]
    tokenizer = Tokenizer.train(sentences, config(vocab_size=291))
    assert tokenizer.vocab_size == 291
    # the mark that opens a text, and one token for each frequent character
    assert len(tokenizer.encode("".join(alphabet[:30]))) == 31
    assert len(tokenizer.encode(alphabet[400])) == 1 + 3


@pytest.mark.parametrize("sentences", [[], ["", "  "], ["x" * 16_001]])
def test_no_text(sentences):
    with pytest.raises(HeedfulError, match="no text to learn a vocabulary from"):
        Tokenizer.train(sentences, config(max_length=1000))


def test_long_lines_within_the_limit_teach():
    line = "zebra " * 2600  # 15,600 characters; SentencePiece's own default stops at 4192 bytes
    tokenizer = Tokenizer.train([line], config(max_length=1000))
    assert "▁zebra" in tokenizer.pieces(range(tokenizer.vocab_size))


def test_sample_of_a_large_corpus(monkeypatch):
    monkeypatch.setattr("heedful.data.tokenizer._TRAINING_CHARACTERS", 2000)
    sentences = [f"{i:05d}" for i in range(20_011)]
    kept = _sample(iter(sentences), 100)
    assert 1000 / 5 <= len(kept) <= 2000 / 5
    assert kept == sorted(kept)
    assert 7000 < sum(map(int, kept)) / len(kept) < 13_000


def test_spaces_that_training_never_showed_are_plain_ones(bpe):
    assert bpe.familiar("The\u00a0old\u202f\u3000dog\u00ad\u200b\ufeff runs\u200c") == "The old  dog runs\u200c"
    french = Tokenizer.train([*SENTENCES, *["Qui\u00a0? Toi\u202f!"] * 9], config(vocab_size=420))
    assert french.familiar("Quoi\u00a0? Non\u202f! A\u2009b") == "Quoi\u00a0? Non\u202f! A b"


def test_split_digits(bpe):
    split = Tokenizer.train(SENTENCES, config(split_digits=True))

    def most_digits(tokenizer):
        names = tokenizer.pieces(range(260, tokenizer.vocab_size))
        return max(sum(character.isdigit() for character in name) for name in names)

    assert most_digits(bpe) > 1
    assert most_digits(split) == 1
    assert split.decode(split.encode("1973 7")) == "1973 7"


def test_learning_is_silent(capfd):
    Tokenizer.train(SENTENCES, config())
    assert capfd.readouterr() == ("", "")


def test_threads_change_nothing(tokenizer):
    assert tokenizer.encode_all(SENTENCES, threads=3) == [tokenizer.encode(text) for text in SENTENCES]


def test_sampling_is_a_pure_function(tokenizer):
    drawn = tokenizer.sample_all(SENTENCES, 5, 0.3)
    other = tokenizer.sample_all(SENTENCES, 6, 0.3)
    assert tokenizer.sample_all(SENTENCES, 5, 0.3) == drawn
    tokenizer.sample_all(SENTENCES[:3], 7, 0.3)
    assert tokenizer.sample_all(SENTENCES, 5, 0.3) == drawn
    found = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: tokenizer.sample_all(SENTENCES, seed, 0.3)}))
        for seed in (5, 6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {5: drawn, 6: other}
    assert drawn != other
    assert Tokenizer(tokenizer.bytes).sample_all(SENTENCES, 5, 0.3) == drawn


def test_sampled_texts_come_back(tokenizer):
    strange = [*SENTENCES, f"{MARKS} x{MARKS}▁", "  a ", ""]
    drawn = tokenizer.sample_all(strange, 11, 0.5)
    assert [tokenizer.decode(ids) for ids in drawn] == strange
    assert sum(map(len, drawn)) > sum(map(len, tokenizer.encode_all(strange)))


def test_save_and_load(tmp_path, tokenizer):
    tokenizer.save(tmp_path / "source.model")
    loaded = Tokenizer.load(tmp_path / "source.model")
    assert loaded.bytes == tokenizer.bytes
    assert loaded.encode_all(SENTENCES) == tokenizer.encode_all(SENTENCES)


@pytest.mark.parametrize("damage", [slice(0), slice(5000), slice(-1), slice(7, None)])
def test_damaged_file_is_named(tmp_path, bpe, damage):
    path = tmp_path / "source.model"
    path.write_bytes(bpe.bytes[damage])
    with pytest.raises(HeedfulError, match=r"source.model is damaged"):
        Tokenizer.load(path)
    with pytest.raises(HeedfulError, match=r"cannot read the tokenizer .*nothing.model"):
        Tokenizer.load(tmp_path / "nothing.model")


def test_any_flipped_byte_is_an_error_or_still_a_tokenizer(bpe):
    for place in range(0, len(bpe.bytes), 29):
        broken = bytearray(bpe.bytes)
        broken[place] ^= 0x55
        try:
            tokenizer = Tokenizer(bytes(broken))
        except HeedfulError:
            continue
        tokenizer.decode(tokenizer.encode("Ein Hund läuft."))


def test_joint_and_separate_vocabularies(tmp_path, bpe):
    joint, separate = tmp_path / "joint", tmp_path / "separate"
    other = Tokenizer.train(SENTENCES[:5], config(vocab_size=290))
    for directory, pair in ((joint, Tokenizers(bpe, bpe)), (separate, Tokenizers(bpe, other))):
        directory.mkdir()
        pair.save(directory)
        loaded = Tokenizers.load(directory)
        assert sorted(path.name for path in directory.iterdir()) == sorted(pair.files()) == sorted(loaded.files())
        assert loaded.joint == pair.joint == (directory is joint)
        assert (loaded.source.bytes, loaded.target.bytes) == (pair.source.bytes, pair.target.bytes)
