"""What a contender in training is: how it is started, and what it says of its speed and its loss."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import sentencepiece

from benchmarks.shapes import TrainingShape
from benchmarks.text import Text


@dataclass(frozen=True)
class Bench:
    """What all contenders of a shape share."""

    shape: TrainingShape
    text: Text
    start: Path
    """heedful's model directory with the vocabulary and the first weights."""
    batches: Path
    one_pair: tuple[Path, Path]
    tokens: Sequence[int]
    """Real target tokens of each prepared batch."""
    threads: int
    device: str = "cpu"

    @property
    def last(self) -> int:
        """The last measured update."""
        return self.shape.warm_up + self.shape.measured


@dataclass(frozen=True)
class Progress:
    """What a contender has written down."""

    tokens_per_second: float
    losses: Sequence[float]
    """A target token's smoothed loss at every update that was told, in nats."""


class Contender(ABC):
    """A toolkit in one precision."""

    name: str
    python: Path
    imports: str
    """The modules whose memory is everybody's."""
    same_start: bool = False
    """Begins with the start model's weights and takes the prepared batches in their order."""
    drawn: bool = True
    """Stands in the picture of speeds, too."""

    @abstractmethod
    def command(self, bench: Bench, directory: Path) -> list[str | Path]:
        """Trains in `directory`, for as many updates as it is let."""

    @abstractmethod
    def progress(self, bench: Bench, directory: Path) -> Progress | None:
        """None as long as the measured updates are not done."""

    def environment(self, threads: int) -> Mapping[str, str]:
        """Of its process."""
        return {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}


def from_metrics(path: Path, bench: Bench) -> Progress | None:
    """From metrics.jsonl, as heedful writes it: `minutes` is the time at which an update began."""
    if not path.exists():
        return None
    complete = path.read_text().rpartition("\n")[0].splitlines()
    records = [record for line in complete if "loss" in (record := json.loads(line))]
    if len(records) <= bench.last:
        return None
    begun = [60 * record["minutes"] for record in records]
    measured = slice(bench.shape.warm_up, bench.last)
    seconds = begun[measured.stop] - begun[measured.start]
    return Progress(sum(bench.tokens[measured]) / seconds, [record["loss"] for record in records])


def pieces(start: Path) -> list[str]:
    """The vocabulary of a start model, special symbols first."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(start / "source.model"))
    return [processor.id_to_piece(number) for number in range(processor.vocab_size())]
