"""The text that everybody is measured on, and what is made of it once: start models, batches, the long file."""

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import heedful
from benchmarks.shapes import TrainingShape
from heedful.data.batches import Batch, TrainingData
from heedful.data.config import DataConfig
from heedful.data.corpus import Corpus, read_lines
from heedful.data.tokenizer import Tokenizers

LONG = 50_000
"""Lines of the long file."""


@dataclass(frozen=True)
class Text:
    """Multi30k, or a corpus with the same file names."""

    directory: Path
    source: str = "en"
    target: str = "de"

    def pair(self, part: str) -> tuple[Path, Path]:
        """Source and target file of train, val or test_2016_flickr."""
        source, target = (self.directory / f"{part}.{language}" for language in (self.source, self.target))
        return source, target

    @property
    def train(self) -> tuple[Path, Path]:
        """The training set."""
        return self.pair("train")

    @property
    def test(self) -> tuple[Path, Path]:
        """The test set."""
        return self.pair("test_2016_flickr")


def find_text(given: Path | None, work: Path) -> Text:
    """The directory that was named, or Multi30k fetched into `work`."""
    directory = given or work / "multi30k"
    text = Text(directory)
    if not all(path.exists() for path in (*text.train, *text.pair("val"), *text.test)):
        if given:
            raise SystemExit(f"{given} lacks train, val or test_2016_flickr in .en and .de; name another DATA")
        subprocess.run([sys.executable, "-m", "heedful", "fetch", "multi30k", "--output", directory], check=True)
    return text


def start_model(shape: TrainingShape, text: Text, directory: Path) -> Path:
    """A model of this shape after one update: every contender's tokens and, where it can take them, weights."""
    path = directory / f"start-{shape.name}"
    if not (path / "checkpoints").exists():
        heedful.train(
            train=text.train,
            valid=one_pair(text, directory),
            output=path,
            recipe=shape.recipe,
            **shape.fields | {"max_steps": 1, "threads": 2, "decay_steps": None},
        )
    return path


def one_pair(text: Text, directory: Path) -> tuple[Path, Path]:
    """A validation set of one sentence, so that validating takes no time."""
    paths = directory / f"one.{text.source}", directory / f"one.{text.target}"
    for whole, short in zip(text.pair("val"), paths, strict=True):
        short.parent.mkdir(parents=True, exist_ok=True)
        short.write_text(f"{next(read_lines(whole))}\n", encoding="utf-8")
    return paths


def save_batches(start: Path, text: Text, fields: dict[str, object], count: int | None) -> Path:
    """The first batches that a run from `start` takes (None: a whole epoch), as arrays that any peer can read."""
    path = start.with_name(f"{start.name}-batches-{fields['batch_tokens']}-{count or 'epoch'}.npz")
    if not path.exists():
        config = DataConfig(vocab_size=fields["vocab_size"], batch_tokens=fields["batch_tokens"])
        data = TrainingData.prepare(
            [Corpus.of(text.train)], None, Tokenizers.load(start), config, int(str(fields["seed"])), start / "data"
        )
        batches, epoch = list[Batch](), 0
        while len(batches) < (count or 1):
            batches += [data.collate(indices, epoch) for indices in data.batches(epoch)[:count]]
            epoch += 1
        arrays = {}
        for number, batch in enumerate(batches[:count]):
            arrays[f"{number}/source"] = batch.source.numpy()
            arrays[f"{number}/given"] = batch.target_input.numpy()
            arrays[f"{number}/wanted"] = batch.target_output.numpy()
        np.savez(path, **arrays)
    return path


def target_tokens(batches: Path) -> list[int]:
    """Real target tokens of every prepared batch, EOS included."""
    with np.load(batches) as arrays:
        return [int((arrays[f"{number}/wanted"] != 0).sum()) for number in range(len(arrays.files) // 3)]


def long_file(text: Text, directory: Path, lines: int = LONG) -> Path:
    """Training sentences, shuffled and repeated."""
    path = directory / f"long-{lines}.{text.source}"
    if not path.exists():
        sentences = [line for line in read_lines(text.train[0]) if line.strip()]
        generator = random.Random(1)
        chosen = list[str]()
        while len(chosen) < lines:
            chosen += generator.sample(sentences, len(sentences))
        path.write_text("".join(f"{line}\n" for line in chosen[:lines]), encoding="utf-8")
    return path
