"""The training loop, the same for every model, on one process or many (Section 5).

An update is a function of weights, optimiser state, seed and step alone: the data order follows from
(seed, epoch) and the dropout from (seed, step, rank). So an interrupted run goes on to the same weights.
Knows no decoding: it is given a `validate`.
"""

import hashlib
import math
import operator
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from heedful.checkpoint import (
    Checkpoint,
    load_tensors,
    load_weights,
    model_tensors,
    prune,
    save,
    trained_checkpoints,
    write_file,
)
from heedful.data.batches import Batch
from heedful.errors import HeedfulError
from heedful.memory import settle_memory
from heedful.model.seq2seq import Seq2Seq
from heedful.model.transformer import Transformer
from heedful.progress import Meter, progress
from heedful.training import distributed
from heedful.training.config import TrainingConfig
from heedful.training.gpu import GpuGradients, RecordedStep
from heedful.training.objective import Objective
from heedful.training.optimizer import (
    MovingAverage,
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
)
from heedful.training.packed import PackedBatch
from heedful.training.record import Recorder, Window, say_validation, training_note

Model = Seq2Seq[Any, Any]


class Batches(Protocol):
    """Training data: the batches of an epoch, a pure function of (seed, epoch)."""

    def batches(self, epoch: int) -> Sequence[np.ndarray]:
        """The pairs of every batch, in order."""
        ...

    def collate(self, indices: np.ndarray, epoch: int) -> Batch:
        """These pairs as tensors."""
        ...

    def describe(self, indices: np.ndarray) -> str:
        """Where these pairs come from: file and lines."""
        ...


@dataclass(frozen=True)
class Validation:
    """Scores on the validation set; perplexities are of the unsmoothed model."""

    perplexity: float
    perplexity_per_word: float
    hypotheses: Sequence[str]
    bleu: float | None = None
    """Of a model that makes text."""
    bleu_signature: str | None = None
    f1: float | None = None
    """Labelled, of a parser."""

    @property
    def score(self) -> float:
        """By which checkpoints are chosen; higher is better."""
        return (self.bleu if self.f1 is None else self.f1) or 0.0


@dataclass(frozen=True)
class Position:
    """How far a run is: what a checkpoint holds beside tensors."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    """Batches of this epoch that are done."""
    batches: int = 0
    """Batches that this epoch has, 0 while nobody has counted them."""
    seconds: float = 0.0
    best_score: float | None = None
    stale: int = 0
    """Validations since the best."""


@dataclass(frozen=True)
class Outcome:
    """Why training ended; `signal` is set where it was told to, `mean` where its last checkpoints were averaged."""

    reason: str
    position: Position
    signal: int | None = None
    mean: Checkpoint | None = None


@dataclass(frozen=True)
class _Work:
    """What a process computes for one batch of an update."""

    tokens: int
    """Target tokens of the whole batch."""
    share: float
    """Of the parts in the loss."""
    parts: Sequence[Batch | PackedBatch]


class DivergenceError(HeedfulError):
    """A loss or a gradient that is not finite."""


class Trainer:
    """Trains `model`, which is on its device already, in a model directory that has its configuration."""

    def __init__(
        self,
        model: Model,
        data: Batches,
        config: TrainingConfig,
        d_model: int,
        validate: Callable[[Model], Validation],
        directory: Path,
    ) -> None:
        self.model, self.data, self.config, self.d_model = model, data, config, d_model
        self.validate, self.directory = validate, directory
        self.weights = model_tensors(model)
        self.optimizer = make_optimizer(model, config)
        self.average: MovingAverage | None = None
        self.position = Position()
        self._signal: int | None = None
        self._saved: int | None = None
        self._resume()
        if config.ema_decay and self.average is None:
            self.average = MovingAverage(self.weights, config.ema_decay)
        # not before: what making and loading a model took is given back, and weights and moments stand by themselves
        settle_memory()
        self._started = time.monotonic() - self.position.seconds
        objective = Objective(model, config.label_smoothing)
        self.objective: Objective | DistributedDataParallel = objective
        if distributed.world_size() > 1:
            self.objective = DistributedDataParallel(objective)
            # a table of positions grows on the process that meets a long sentence, and what is saved is rank 0's anyway
            self.objective.broadcast_buffers = False
        self._makes_ahead = model.device.type == "cuda"
        self._ahead: tuple[Sequence[np.ndarray], list[_Work]] | None = None
        self._gpu: GpuGradients | None = None
        self._recorded: RecordedStep | None = None
        if model.device.type == "cuda" and distributed.world_size() == 1:
            if config.cuda_graphs:
                self._recorded = RecordedStep(self.optimizer, model.device)
            if isinstance(model, Transformer):
                self._gpu = GpuGradients(objective, config.precision == "bfloat16", config.cuda_graphs)

    def finished(self) -> str | None:
        """The limit that is reached, in words."""
        config, position = self.config, self.position
        limits = (
            (config.max_steps, position.step, "steps"),
            (config.max_epochs, position.epoch, "epochs"),
            (config.max_minutes, position.seconds / 60, "minutes"),
            (config.patience, position.stale, "validations without a better score"),
        )
        return next((f"{limit:g} {name}" for limit, done, name in limits if limit and done >= limit), None)

    def run(self) -> Outcome:
        """Trains until a limit or a signal, and saves. Raises `DivergenceError` on a non-finite loss or gradient."""
        first = distributed.rank() == 0
        with self._signals(), progress("training", total=1.0, done=self._share(), shown=first) as meter:
            recorder = Recorder(self.directory, self.position.step) if first else None
            try:
                reason = self._epochs(meter, recorder)
            finally:
                if recorder:
                    recorder.close()
        return Outcome(reason, self.position, self._signal)

    def _epochs(self, meter: Meter, recorder: Recorder | None) -> str:
        window = Window()
        while not (reason := self._stop()):
            epoch = self.position.epoch
            batches = self.data.batches(epoch)
            self.position = replace(self.position, batches=len(batches))
            if self.position.batch >= len(batches):  # small weights can leave an epoch of a tiny corpus empty
                self.position = replace(self.position, epoch=epoch + 1, batch=0)
            while self.position.epoch == epoch and not (reason := self._stop()):
                begin, count = self.position.batch, self.config.accumulate
                group, following = batches[begin : begin + count], batches[begin + count : begin + 2 * count]
                window.add(*self.update(group, following))
                self._advance(len(group))
                step, logged = self.position.step, self.position.step % self.config.log_every == 0
                if recorder:
                    values = window.summary() | {"epoch": epoch, "minutes": self.position.seconds / 60}
                    meter.update(self._share(), training_note(step, values))
                    if logged:
                        recorder.write(step, values)
                if logged:
                    window = Window()
                if step % self.config.validate_every == 0:
                    self._validate_and_save(meter, recorder)
                    window.restart()
        if self._saved != self.position.step:
            if self._signal is None or self.finished():  # told to leave at the very end: nothing would go on
                self._validate_and_save(meter, recorder)
            else:
                self._save(None)
        return reason

    def update(
        self, group: Sequence[np.ndarray], following: Sequence[np.ndarray] = ()
    ) -> tuple[float, float, int, float, float]:
        """One update from the batches of `group`: the same whatever the number of processes. While a GPU computes it,
        those that are `following` are made."""
        config, position = self.config, self.position
        self.model.train()
        torch.manual_seed(_mix(config.seed, position.step, distributed.rank()))
        work = self._taken_ahead(group) or self._work(group, position.step)
        tokens = sum(each.tokens for each in work)
        rate = learning_rate(config, position.step + 1, self.d_model)
        consistency = config.consistency_at(position.step)
        losses = []
        for number, each in enumerate(work):
            own = torch.zeros(2, device=self.model.device)
            for part in each.parts:
                last = number == len(work) - 1 and part is each.parts[-1]
                scale = each.share * distributed.world_size() / tokens
                with self._synchronised(last):
                    own += self._gradients(part, consistency, scale) * each.share
            # every process learns every loss, so that all of them stop at one that is not finite
            losses.append(distributed.total(own))
        # everything is asked for before the first number is waited for: a GPU has work until the last one
        parameters = list(self.model.parameters())
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        total_norm = nn.utils.get_total_norm(gradients)
        if config.clip_norm:
            nn.utils.clip_grads_with_norm_(parameters, config.clip_norm, total_norm)
        results = torch.cat((*losses, total_norm.view(1)))
        if following and self._makes_ahead:
            self._ahead = following, self._work(following, position.step + 1)
        *numbers, norm = results.tolist()
        smoothed, likelihoods = numbers[::2], numbers[1::2]
        for number, (indices, loss) in enumerate(zip(group, smoothed, strict=True)):
            if not math.isfinite(loss):
                raise self._diverged("loss", loss / tokens, [indices], position.batch + number)
        if not math.isfinite(norm):
            raise self._diverged("gradient norm", norm, group, position.batch)
        self._step(rate)
        if self._gpu:
            self._gpu.clear()
        else:
            self.optimizer.zero_grad(set_to_none=self._recorded is None)  # which looks for gradients where they were
        if self.average:
            self.average.update(self.weights, position.step)
        return math.fsum(smoothed), math.fsum(likelihoods), tokens, rate, norm

    def _taken_ahead(self, group: Sequence[np.ndarray]) -> list[_Work] | None:
        ahead, self._ahead = self._ahead, None
        if ahead and len(ahead[0]) == len(group) and all(map(operator.is_, ahead[0], group)):
            return ahead[1]
        return None

    def _work(self, group: Sequence[np.ndarray], step: int) -> list[_Work]:
        """What this process has to compute for an update."""
        config = self.config
        passes = config.passes if config.consistency_at(step) else 1
        at_once = config.device_tokens and max(1, config.device_tokens // passes)
        work = []
        for indices in group:
            batch = self.data.collate(indices, self.position.epoch)
            shard, share = _shard(batch)
            parts = [self._gpu.prepare(part) if self._gpu else part for part in shard.cut(at_once)]
            work.append(_Work(batch.target_tokens, share, parts))
        return work

    def _gradients(self, batch: Batch | PackedBatch, consistency: float, scale: float) -> torch.Tensor:
        """Adds those of the loss times `scale`; the sums of loss and negative log-likelihood `[2]`."""
        if self._gpu:
            return self._gpu(batch, consistency, scale)
        with self._precision():
            smoothed, likelihood = self.objective(batch.to(self.model.device), consistency)
        (smoothed * scale).backward()
        return torch.stack((smoothed.detach(), likelihood))

    def _step(self, rate: float) -> None:
        """The optimiser's, from the gradients that stand at the parameters."""
        if self._recorded:
            self._recorded(rate)
            return
        for settings in self.optimizer.param_groups:
            settings["lr"] = rate
        self.optimizer.step()

    def _diverged(self, what: str, value: float, group: Sequence[np.ndarray], batch: int) -> DivergenceError:
        position = self.position
        where = "; ".join(self.data.describe(indices) for indices in group)
        return DivergenceError(
            f"{what} is {value} before update {position.step + 1}, epoch {position.epoch + 1}, "
            f"batch {batch + 1} ({where}); the weights were not touched: "
            f"lower --lr, raise --warmup-steps or set --clip-norm"
        )

    def _synchronised(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients meet on an update's last batch only."""
        if isinstance(self.objective, DistributedDataParallel) and not last:
            return self.objective.no_sync()
        return nullcontext()

    def _precision(self) -> AbstractContextManager[Any]:
        if self.config.precision == "bfloat16":
            return torch.autocast(self.model.device.type, torch.bfloat16)
        return nullcontext()

    def _advance(self, batches: int) -> None:
        """One update from so many batches is done; an epoch's last one leads to the next epoch."""
        position = replace(self.position, step=self.position.step + 1, batch=self.position.batch + batches)
        if position.batch >= position.batches:
            position = replace(position, epoch=position.epoch + 1, batch=0)
        self.position = position

    def _stop(self) -> str | None:
        """Why to stop now, if at all; every process answers the same."""
        if distributed.most(float(self._signal or 0), self.model.device) > 0:
            self._signal = self._signal or signal.SIGTERM
            return f"stopped by {signal.Signals(self._signal).name}"
        seconds = distributed.from_first(time.monotonic() - self._started, self.model.device)
        self.position = replace(self.position, seconds=seconds)
        return self.finished()

    def _share(self) -> float:
        """How much of the run is done, by the limit that comes first."""
        config, position = self.config, self.position
        epochs = position.epoch + position.batch / max(1, position.batches)
        limits = (
            (config.max_steps, position.step),
            (config.max_epochs, epochs),
            (config.max_minutes, position.seconds / 60),
        )
        return min(1.0, max(done / limit if limit else 0.0 for limit, done in limits))

    def _validate_and_save(self, meter: Meter, recorder: Recorder | None) -> None:
        validation: Validation | None = None
        if recorder:
            meter.update(self._share(), "validating")
            validation = self._validated()
        score = distributed.from_first(validation.score if validation else 0.0, self.model.device)
        best = self.position.best_score is None or score > self.position.best_score
        self.position = replace(
            self.position,
            best_score=score if best else self.position.best_score,
            stale=0 if best else self.position.stale + 1,
        )
        if recorder and validation:
            known = {name: value for name, value in asdict(validation).items() if value is not None}
            scores = {f"valid_{name}": value for name, value in known.items() if name != "hypotheses"}
            recorder.write(self.position.step, scores)
            say_validation(meter, self.position.step, scores, best)
        self._save(validation)  # every process has to know that this step is saved

    def _validated(self) -> Validation:
        """Scores of the weights that will be saved: their moving average where there is one."""
        if self.average:
            self.average.swap(self.weights)
        self.model.eval()
        try:
            with torch.random.fork_rng(devices=[]), torch.no_grad():
                return self.validate(self.model)
        finally:
            self.model.train()
            if self.average:
                self.average.swap(self.weights)

    def _save(self, validation: Validation | None) -> None:
        """Writes a checkpoint, validated or not, from which this run goes on; only rank 0 does."""
        self._saved = self.position.step
        if distributed.rank() != 0:
            return
        self.position = replace(self.position, seconds=time.monotonic() - self._started)
        name = f"step-{self.position.step:08d}"
        training = optimizer_tensors(self.model, self.optimizer)
        if self.average:
            training |= {f"weights/{key}": tensor for key, tensor in self.weights.items()}
        if validation:
            text = "".join(f"{line}\n" for line in validation.hypotheses)
            write_file(self.directory / "hypotheses" / f"{name}.txt", text.encode())
        saved = Checkpoint(
            name,
            self.position.step,
            self.position.epoch,
            bleu=validation.bleu if validation else None,
            f1=validation.f1 if validation else None,
            perplexity=validation.perplexity if validation else None,
            progress=asdict(self.position),
        )
        save(self.directory, saved, self.average.weights if self.average else self.weights, training)
        prune(self.directory, self.config.keep_last, self.config.keep_best, self.config.validate_every)

    def _resume(self) -> None:
        """Takes up the newest checkpoint of the directory, if it has one."""
        if not (checkpoints := trained_checkpoints(self.directory)):
            return
        newest = checkpoints[-1]
        weights = load_tensors(self.directory, newest)
        training = load_tensors(self.directory, newest, training=True)
        if self.config.ema_decay:
            self.average = MovingAverage(
                {key: tensor.to(self.model.device) for key, tensor in weights.items()}, self.config.ema_decay
            )
            weights = {name: training.pop(f"weights/{name}") for name in weights}
        load_weights(self.model, weights)
        load_optimizer_tensors(self.model, self.optimizer, training)
        progress = dict(newest.progress)
        if "best_bleu" in progress:  # its name in directories of before there were parsers
            progress["best_score"] = progress.pop("best_bleu")
        self.position = Position(**progress)
        self._saved = newest.step

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """The first Ctrl-C or SIGTERM asks to save and leave; the second one does what it does elsewhere."""
        handled = (signal.SIGINT, signal.SIGTERM)
        before = [signal.getsignal(number) for number in handled]

        def remember(number: int, _frame: object) -> None:
            self._signal = number
            restore()

        def restore() -> None:
            for number, handler in zip(handled, before, strict=True):
                signal.signal(number, handler)

        try:
            for number in handled:
                signal.signal(number, remember)
        except ValueError:  # not the main thread: whoever called there handles signals
            yield
            return
        try:
            yield
        finally:
            restore()


def _shard(batch: Batch) -> tuple[Batch, float]:
    """This process's sentences and their share in the loss, 0 for a stand-in where there are too few."""
    world, rank, size = distributed.world_size(), distributed.rank(), len(batch.lines)
    if world == 1:
        return batch, 1.0
    rows = torch.arange(rank, size, world)
    return (batch.rows(rows), 1.0) if len(rows) else (batch.rows(torch.tensor([0])), 0.0)


def _mix(*numbers: int) -> int:
    """One seed from several."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
