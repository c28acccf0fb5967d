"""Text to pieces and back (Section 5.1), by SentencePiece learned from the training text itself.

Nothing is normalised, runs of spaces are kept, and what has no piece is spelled in bytes (byte fallback),
so any line comes back as it was, except that NUL, CR and LF come back as spaces: output is one line.
"""

import codecs
import hashlib
import io
import logging
import random
import re
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Self

import sentencepiece

from heedful.data.config import DataConfig
from heedful.errors import HeedfulError

logger = logging.getLogger("heedful")

PAD, UNK, BOS, EOS = range(4)
"""Special symbols, the first entries of every vocabulary."""

PIECE_CHARACTERS = 16
"""No piece holds more characters than this, so n tokens hold at most 16 n characters."""

_FIRST_BYTE = 4
_RESERVED = _FIRST_BYTE + 256 + 1  # special symbols, bytes and the space
_SPACE, _UNKNOWN = "\u2581", "\u2585"  # SentencePiece's own marks; neither is ever inside a learned piece
_TRAINING_SENTENCES = 2_000_000
_BREAKS = dict.fromkeys(map(ord, "\0\r\n"), " ")
_sampling = threading.Lock()

sentencepiece.SentencePieceTrainer  # noqa: B018
sentencepiece.set_min_log_level(2)
