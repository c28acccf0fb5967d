"""The corpus that every row learns, cut to a profile's size."""

import itertools
from pathlib import Path

from heedful.checkpoint import write_file
from heedful.data.corpus import Corpus
from heedful.reproduce.splits import split
from heedful.reproduce.table3.profile import Profile


def corpora(data: Path, languages: tuple[str, str], profile: Profile, directory: Path) -> tuple[Corpus, Corpus]:
    """Training and validation set of a directory as `heedful fetch` makes it; what is cut stands in `directory`.

    Raises `HeedfulError` where they are not there.
    """
    train, valid = (split(data, part, *languages) for part in ("train", "val"))
    return _cut(train, profile.pairs, directory / "train"), _cut(valid, profile.valid_pairs, directory / "val")


def _cut(corpus: Corpus, pairs: int | None, prefix: Path) -> Corpus:
    """So many pairs, evenly from all of it; the corpus itself where it has no more."""
    if pairs is None or (lines := corpus.count()) <= pairs:
        return corpus
    kept = {number * lines // pairs for number in range(pairs)}
    sides = zip(*itertools.compress(corpus.pairs(), (line in kept for line in range(lines))), strict=True)
    paths = [prefix.with_name(f"{prefix.name}.{language}") for language in (corpus.source_lang, corpus.target_lang)]
    for path, texts in zip(paths, sides, strict=True):
        write_file(path, "".join(f"{text}\n" for text in texts).encode())
    return Corpus.of(paths)
