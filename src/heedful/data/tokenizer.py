"""Text to pieces and back (Section 5.1), by SentencePiece learned from the training text itself.

Nothing is normalised, runs of spaces are kept, and what has no piece is spelled in bytes (byte fallback):
every text comes back as it was, except that NUL, CR and LF come back as spaces. A decoded text is one line.
"""

import codecs
import io
import logging
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import sentencepiece

from heedful.data.config import DataConfig
from heedful.data.sampling import SubwordSampler
from heedful.errors import HeedfulError

logger = logging.getLogger("heedful")

PAD, UNK, BOS, EOS = range(4)
"""Special symbols, the first entries of every vocabulary."""

PIECE_CHARACTERS = 16
"""No piece holds more characters than this, so n tokens hold at most 16 n."""

_FIRST_BYTE = 4
_BYTES = range(_FIRST_BYTE, _FIRST_BYTE + 256)
_RESERVED = _BYTES.stop + 1
"""Special symbols, bytes and the space: what is in a vocabulary before any character is."""
_SPACE, _UNKNOWN = "\u2581", "\u2585"
"""SentencePiece's own marks in text, which thus cannot be part of a piece."""
_BREAKS = "\0\r\n"
_SPACES = {"\u00a0", "\u1680", *map(chr, range(0x2000, 0x200B)), "\u202f", "\u205f", "\u3000"}
_NO_WIDTH = {"\u00ad", "\u200b", "\u2060", "\ufeff"}
"""The soft hyphen too, which is seen at the end of a line alone."""
_TRAINING_CHARACTERS = 100_000_000
_FEW = 8
_HALF_SURROGATE = "a text holds half a surrogate pair, which is no character; give UTF-8"
_MOST_SYMBOLS = 1 << 15


class Tokenizer:
    """A vocabulary of pieces. Texts are strings, tokens are integers."""

    def __init__(self, model: bytes, name: str = "the tokenizer") -> None:
        self.bytes = model
        """The serialised SentencePiece model."""
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
            self._pieces = self._processor.id_to_piece(list(range(self._processor.vocab_size())))
            whole = self._is_ours()
        except (RuntimeError, ValueError):
            whole = False
        if not whole:
            raise HeedfulError(f"{name} is damaged or no tokenizer of heedful's; restore it from a copy")
        to_text = str.maketrans(dict.fromkeys(_BREAKS, " ") | {_SPACE: " "})
        self._texts = [piece.translate(to_text) for piece in self._pieces]

    @classmethod
    def train(cls, sentences: Iterable[str], config: DataConfig) -> Self:
        """Learns a vocabulary; equal sentences and settings give an equal one.

        Learns from an even sample where there are over 100 million characters. A vocabulary that the text
        cannot fill is capped with a notice; where it is too small for the alphabet, the rarest characters are
        left to bytes. Raises `HeedfulError` where there is no text.
        """
        learned = cls._learned(sentences, config, config.tokenizer, config.vocab_size, config.character_coverage)
        if learned.vocab_size < config.vocab_size:
            logger.warning(
                f"the training text is too small for a vocabulary of {config.vocab_size} pieces; "
                f"it has {learned.vocab_size}"
            )
        return learned

    @classmethod
    def train_symbols(cls, sentences: Iterable[str], config: DataConfig) -> Self:
        """A piece for every symbol that stands between spaces, however many; `config.max_length` alone matters.

        Raises `HeedfulError` where there is no text.
        """
        return cls._learned(sentences, config, "word", _MOST_SYMBOLS, 1.0)

    @classmethod
    def _learned(
        cls, sentences: Iterable[str], config: DataConfig, kind: str, vocab_size: int, coverage: float
    ) -> Self:
        longest = PIECE_CHARACTERS * config.max_length
        sample = _sample(sentences, longest)
        if not sample:
            raise HeedfulError(
                f"no text to learn a vocabulary from: every line is empty or longer than {longest} characters"
            )
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_fit_alphabet(sample, vocab_size - _RESERVED)),
            model_writer=model,
            model_type=kind,
            vocab_size=max(vocab_size, _RESERVED),
            hard_vocab_limit=False,
            character_coverage=coverage,
            split_digits=config.split_digits and kind != "word",
            normalization_rule_name="identity",
            remove_extra_whitespaces=False,
            byte_fallback=True,
            max_sentencepiece_length=PIECE_CHARACTERS,
            max_sentence_length=4 * longest,  # in bytes
            num_threads=4,  # fixed, because sums of floats depend on it
            pad_id=PAD,
            unk_id=UNK,
            bos_id=BOS,
            eos_id=EOS,
            minloglevel=2,
        )
        return cls(model.getvalue())

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Reads a model file. Raises `HeedfulError` naming it where it is missing or damaged."""
        try:
            return cls(Path(path).read_bytes(), str(path))
        except OSError as error:
            raise HeedfulError(f"cannot read the tokenizer {path}: {error.strerror}; restore it from a copy") from None

    def save(self, path: Path | str) -> None:
        """Writes the model file."""
        Path(path).write_bytes(self.bytes)

    @property
    def vocab_size(self) -> int:
        """Number of pieces, special symbols and bytes included."""
        return len(self._pieces)

    def familiar(self, text: str) -> str:
        """The text with plain spaces for other ones, and without marks of no width, where training hardly showed them.

        What is around a no-break space is not understood where words have always had a plain one between. A mark that
        was common is part of some piece with more to it, as in French that of a no-break space and "?".
        """
        return text if text.isascii() else text.translate(self._unfamiliar)

    @cached_property
    def _unfamiliar(self) -> dict[int, str]:
        known = set().union(*(piece for piece in self._pieces if len(piece) > 1))
        return {ord(mark): plain for marks, plain in ((_SPACES, " "), (_NO_WIDTH, "")) for mark in marks - known}

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, without BOS and EOS."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Tokens of many texts; the number of threads does not change them."""
        # SentencePiece takes U+2581 for a space, so it is passed as U+2585 and its last byte mended
        marked = [text.replace(_SPACE, _UNKNOWN) for text in texts]
        encode = self._processor.encode
        found: list[list[int]]
        try:
            # SentencePiece starts a thread for a list, which takes longer than a few texts do
            few = len(texts) <= _FEW
            found = [encode(text.encode()) for text in marked] if few else encode(marked, num_threads=threads)
        except (TypeError, UnicodeEncodeError):
            raise HeedfulError(_HALF_SURROGATE) from None
        for text, ids in zip(texts, found, strict=True):
            if _SPACE in text:
                stand_in = [_FIRST_BYTE + byte for byte in _UNKNOWN.encode()]
                places = (end for end in range(3, len(ids) + 1) if ids[end - 3 : end] == stand_in)
                for end, mark in zip(places, filter((_SPACE + _UNKNOWN).__contains__, text), strict=True):
                    ids[end - 1] = _FIRST_BYTE + mark.encode()[-1]
        return found

    def sample_all(self, texts: Sequence[str], seed: int, alpha: float) -> list[list[int]]:
        """A random segmentation of every text, a pure function of the arguments; `seed` has 32 bits.

        `alpha` is the dropout probability of BPE-dropout (Provilkov et al. 2020), or the smoothing of
        subword regularisation with a unigram model (Kudo 2018). Symbols, which have no parts, are as they are.
        """
        if len(self.words()) == self.vocab_size - _BYTES.stop:
            return self.encode_all(texts)
        try:
            return self._sampler.sample(texts, seed, alpha)
        except UnicodeEncodeError:
            raise HeedfulError(_HALF_SURROGATE) from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of any tokens: one line of valid Unicode. Special symbols add nothing."""
        return "".join(self._spell(ids)).removeprefix(" ")

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The vocabulary's own names: "▁dog", "<0xE2>", "</s>"."""
        return [self._pieces[token] for token in ids]

    def words(self) -> dict[str, int]:
        """The pieces that begin a word, as they are spelled behind the space, with their tokens."""
        learned = ((token, self._pieces[token]) for token in range(_BYTES.stop, self.vocab_size))
        return {piece[1:]: token for token, piece in learned if piece.startswith(_SPACE) and piece != _SPACE}

    def word_starts(self) -> list[int]:
        """The tokens that begin a word, as one does in every word of an encoded text."""
        return [token for token, piece in enumerate(self._pieces) if piece.startswith(_SPACE)]

    def word_ids(self, ids: Sequence[int]) -> list[int]:
        """For every token the index of its word in `decode(ids).split()`.

        A token's word holds the first visible character at or after the token's start, so a lone "▁" goes with
        the word that it opens, and all bytes of a character with that character's. Special symbols, and space
        after the last word, have −1.
        """
        texts = self._spell(ids)
        characters = "".join(texts)
        word, words = -1, []
        for position, character in enumerate(characters):
            if not character.isspace() and (position == 0 or characters[position - 1].isspace()):
                word += 1
            words.append(word)
        ahead = [-1]
        for character, index in zip(reversed(characters), reversed(words), strict=True):
            ahead.append(ahead[-1] if character.isspace() else index)
        ahead.reverse()
        result, start = [], 0
        for token, text in zip(ids, texts, strict=True):
            result.append(-1 if token < _FIRST_BYTE else ahead[start])
            start += len(text)
        return result

    @cached_property
    def _sampler(self) -> SubwordSampler:
        scores = self._processor.get_score(list(range(self.vocab_size)))
        learned = range(_BYTES.stop, self.vocab_size)
        # BPE numbers its pieces in the order of merging, a unigram model has log-probabilities
        unigram = [scores[token] for token in learned] != [-place for place in range(len(learned))]
        pieces = {self._pieces[token].replace(_SPACE, " "): token for token in learned}
        return SubwordSampler(pieces, scores, unigram, _FIRST_BYTE)

    def _is_ours(self) -> bool:
        model = self._processor
        specials = (model.pad_id(), model.unk_id(), model.bos_id(), model.eos_id())
        names = [f"<0x{byte:02X}>" for byte in range(256)]
        return specials == (PAD, UNK, BOS, EOS) and self._pieces[_BYTES.start : _BYTES.stop] == names

    def _spell(self, ids: Iterable[int]) -> list[str]:
        """What every token adds to the text; a character of several bytes is added by the last of them."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts: list[str] = []
        pending = False
        for token in map(int, ids):
            if token in _BYTES:
                byte = token - _FIRST_BYTE
                texts.append(decoder.decode(b" " if byte in _BREAKS.encode() else bytes([byte])))
                pending = True
            elif token < _FIRST_BYTE:
                texts.append("")
            else:
                if pending:
                    texts[-1] += decoder.decode(b"", final=True)
                    pending = False
                texts.append(self._texts[token])
        if pending:
            texts[-1] += decoder.decode(b"", final=True)
        return texts


@dataclass(frozen=True)
class Tokenizers:
    """The tokenizers of both sides, one and the same object where the vocabulary is joint."""

    source: Tokenizer
    target: Tokenizer

    @property
    def joint(self) -> bool:
        """One vocabulary for both sides."""
        return self.source is self.target

    def files(self) -> list[str]:
        """Names of the files that `save` writes."""
        return ["source.model"] if self.joint else ["source.model", "target.model"]

    def save(self, directory: Path | str) -> None:
        """Writes source.model, and target.model unless joint."""
        for name, tokenizer in zip(self.files(), (self.source, self.target), strict=False):
            tokenizer.save(Path(directory) / name)

    @classmethod
    def load(cls, directory: Path | str) -> Self:
        """Reads what `save` wrote. Raises `HeedfulError` naming a missing or damaged file."""
        source, target = (Path(directory) / name for name in ("source.model", "target.model"))
        first = Tokenizer.load(source)
        return cls(first, Tokenizer.load(target) if target.exists() else first)


def _sample(sentences: Iterable[str], longest: int) -> list[str]:
    """An even sample in order; all of them where they have fewer than `_TRAINING_CHARACTERS` characters.

    Lines longer than `longest` are left out, as they are from training.
    """
    draw = random.Random(0).random
    kept: list[str] = []
    size, rate = 0, 1.0
    for sentence in sentences:
        if not sentence.strip() or len(sentence) > longest or (rate < 1 and draw() >= rate):
            continue
        kept.append(sentence)
        size += len(sentence)
        if size > _TRAINING_CHARACTERS:
            kept = [sentence for sentence in kept if draw() < 0.5]
            size, rate = sum(map(len, kept)), rate / 2
    return kept


def _fit_alphabet(sentences: list[str], room: int) -> list[str]:
    """The sentences with spaces in place of what cannot have a piece: marks, and all but the `room` most frequent."""
    alphabet: set[str] = set()
    for sentence in sentences:
        alphabet.update(sentence)
    alphabet.discard(" ")
    removed = alphabet.intersection(_SPACE + _UNKNOWN + _BREAKS)
    if len(alphabet - removed) > room:
        counts = Counter(character for sentence in sentences for character in sentence)
        ranked = sorted(alphabet - removed, key=lambda character: (-counts[character], character))
        removed.update(ranked[max(room, 0) :])
    if not removed:
        return sentences
    table = str.maketrans(dict.fromkeys(removed, " "))
    return [sentence.translate(table) for sentence in sentences]
