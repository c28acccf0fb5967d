"""Training side by side: rounds in turn, tokens a second, peak memory, and the loss of every update."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median

from benchmarks.contender import Bench, Contender, Progress
from benchmarks.contenders import contenders
from benchmarks.processes import ContenderError, import_mib, run
from benchmarks.shapes import TrainingShape
from benchmarks.tables import Spread, ratios, table
from benchmarks.text import Text, one_pair, save_batches, start_model, target_tokens
from heedful.data.tokenizer import Tokenizers


@dataclass
class Result:
    """A contender's rounds."""

    contender: Contender
    speeds: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    import_peak: float = float("nan")
    losses: Sequence[float] = ()
    failure: str = ""


@dataclass(frozen=True)
class Comparison:
    """One shape, everybody."""

    bench: Bench
    pieces: int
    results: Sequence[Result]
    missing: Sequence[str]


def compare(
    shape: TrainingShape, text: Text, work: Path, pythons: Mapping[str, Path | None], rounds: int, threads: int
) -> Comparison:
    """Every contender of a shape, `rounds` times in turn."""
    bench = prepare(shape, text, work, threads)
    who, missing = contenders(shape, pythons)
    results = in_turn([(each, bench) for each in who], work, rounds)
    for result in results:
        contender = result.contender
        modules = f"torch._dynamo, {contender.imports}"  # which everybody's optimiser imports, if nothing else does
        result.import_peak = import_mib(contender.python, modules, work / "logs" / "import.log")
    return Comparison(bench, Tokenizers.load(bench.start).target.vocab_size, results, missing)


def in_turn(who: Sequence[tuple[Contender, Bench]], work: Path, rounds: int) -> list[Result]:
    """Round by round, one after the other; who fails once is left out."""
    results = [Result(contender) for contender, _ in who]
    for number in range(rounds):
        for result, (_, bench) in zip(results, who, strict=True):
            if not result.failure:
                _round(result, bench, work, number)
    return results


def prepare(shape: TrainingShape, text: Text, work: Path, threads: int, device: str = "cpu") -> Bench:
    """The start model and the batches of a shape."""
    start = start_model(shape, text, work)
    batches = save_batches(start, text, shape.fields, shape.warm_up + shape.measured + 1)
    return Bench(shape, text, start, batches, one_pair(text, work), target_tokens(batches), threads, device)


def speeds(comparison: Comparison) -> dict[str, dict[str, list[float]]]:
    """Every round's speed, for the picture."""
    title = f"training, {comparison.bench.shape.name}"
    drawn = [result for result in comparison.results if result.speeds and result.contender.drawn]
    return {title: {result.contender.name: result.speeds for result in drawn}}


def markdown(comparison: Comparison) -> str:
    """A table of one shape, and the losses below it."""
    bench, results = comparison.bench, [result for result in comparison.results if result.speeds]
    first = {result.contender.name: result for result in results}
    ours = [result for result in results if result.contender.name.startswith("heedful")]
    theirs = [result for result in results if result not in ours]
    best = max(ours, key=lambda result: median(result.speeds), default=None)
    rows = []
    for result in comparison.results:
        name = result.contender.name
        if name not in first:
            rows.append([name, f"failed: {result.failure[:80]}", "", "", "", ""])
            continue
        rows.append(
            [
                name,
                Spread.of(result.speeds).show(),
                ratios(best.speeds, result.speeds).show(2) + "×" if best and result in theirs else "",
                f"{median(result.peaks):.0f}",
                f"{median(result.peaks) - result.import_peak:.0f}",
                _mean_loss(result, bench),
            ]
        )
    rows += [[name, "not installed", "", "", "", ""] for name in comparison.missing]
    header = ["", "target tokens/s", "heedful's best to this", "peak MiB", "beyond imports", "mean loss"]
    caption = (
        f"**{bench.shape.name}** ({bench.shape.summary}; {comparison.pieces:,} pieces in fact), "
        f"updates {bench.shape.warm_up + 1} to {bench.last}, {bench.threads} threads:"
    )
    return f"{caption}\n\n{table(header, rows)}\n\n{_losses(results)}"


def _mean_loss(result: Result, bench: Bench) -> str:
    """Of the measured updates; nothing for who took other batches from other weights."""
    measured = result.losses[bench.shape.warm_up : bench.last]
    return f"{fmean(measured):.3f}" if result.contender.same_start else ""


def _losses(results: Sequence[Result]) -> str:
    """How far the losses of those who begin with the same weights are apart."""
    same = [result for result in results if result.contender.same_start]
    if len(same) < 2:
        return ""
    first, *others = same
    apart = [
        f"{max(abs(a - b) for a, b in zip(first.losses, other.losses, strict=False)):.3f} ({other.contender.name})"
        for other in others
    ]
    return (
        f"Same first weights and batches, dropout drawn differently: the losses of single updates are at most so far "
        f"from those of {first.contender.name}: {', '.join(apart)}."
    )


def _round(result: Result, bench: Bench, work: Path, number: int) -> None:
    contender, directory = result.contender, work / "rounds" / bench.shape.name
    shutil.rmtree(directory, ignore_errors=True)
    found: list[Progress] = []

    def done() -> bool:
        progress = contender.progress(bench, directory)
        if progress:
            found.append(progress)
        return bool(found)

    log = work / "logs" / f"{bench.shape.name}-{contender.name.replace(' ', '-').replace(',', '')}.log"
    environment = contender.environment(bench.threads)
    try:
        finished = run(contender.command(bench, directory), log, environment, done)
    except ContenderError as error:
        result.failure = str(error)
        print(f"  {contender.name}: {error}", file=sys.stderr, flush=True)
        return
    if not found:
        result.failure = f"ended before update {bench.last}"
        return
    result.speeds.append(found[0].tokens_per_second)
    result.peaks.append(finished.peak_mib)
    result.losses = found[0].losses
    said = f"{found[0].tokens_per_second:.0f} tokens/s, {finished.peak_mib:.0f} MiB"
    print(f"  {bench.shape.name}, round {number + 1}, {contender.name}: {said}", file=sys.stderr, flush=True)
