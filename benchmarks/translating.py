"""Translating side by side: the same weights, in turn; sentences a second, latency, memory, BLEU, and who agrees."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

from benchmarks.processes import ContenderError, import_mib, run
from benchmarks.tables import Spread, ratios, table
from benchmarks.text import LONG, Text, long_file
from benchmarks.translators import Setting, Translator, translators
from heedful.data.corpus import read_lines
from heedful.evaluation.bleu import bleu

BEAMS = (1, 5)
KINDS = ("test", "single", "long")
"""The test set, its first sentences one at a time, and the long file."""
SINGLE_LINES = 200
"""Lines translated one at a time."""


@dataclass(frozen=True)
class Work:
    """What is translated, and how."""

    name: str
    input: Path
    beam: int
    single: bool = False
    long: bool = False

    @property
    def flags(self) -> list[str | Path]:
        """Of every contender's command."""
        some = ["--single", "--lines", str(SINGLE_LINES)] if self.single else []
        once = ["--seconds", "0.001"] if self.long else []
        return ["--input", self.input, "--beam-size", str(self.beam), *some, *once]


@dataclass
class Measured:
    """A contender's rounds of one work, in its best setting."""

    setting: Setting
    speeds: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    translations: Sequence[str] = ()


@dataclass
class Side:
    """A contender and all it did; works that it failed at say why."""

    translator: Translator
    done: dict[Work, Measured] = field(default_factory=dict)
    failures: dict[Work, str] = field(default_factory=dict)
    import_peak: float = float("nan")


class Bench:
    """All of it: settings are tried on the test set, then the best of each goes through the rounds."""

    def __init__(
        self,
        model: Path,
        text: Text,
        work: Path,
        pythons: Mapping[str, Path | None],
        *,
        threads: int = 2,
        long_lines: int = LONG,
        kinds: Sequence[str] = KINDS,
    ) -> None:
        """`kinds` leaves some of `KINDS` out; the long file needs the test set, on which settings are tried."""
        self.text, self.directory, self.threads = text, work, threads
        self.references = list(read_lines(text.test[1]))
        if python := pythons["ctranslate2"]:
            convert = [python, "-m", "benchmarks.peers.ctranslate2_convert", "--model", model]
            run([*convert, "--output", work / "ctranslate2"], work / "logs" / "convert.log")
        found, self.missing = translators(model, work, pythons)
        self.sides = [Side(translator) for translator in found]
        tests = [Work("test set", text.test[0], beam) for beam in BEAMS]
        singles = [Work("one at a time", text.test[0], beam, single=True) for beam in BEAMS]
        by_kind = {"test": tests, "single": singles, "long": []}
        if long_lines and {"test", "long"} <= {*kinds}:
            path = long_file(text, work, long_lines)
            by_kind["long"] = [Work(f"{long_lines:,} lines", path, beam, long=True) for beam in BEAMS]
        self.works = [work for kind in KINDS if kind in kinds for work in by_kind[kind]]

    def rounds(self, number: int) -> None:
        """Measures everybody, `number` times in turn; the long file once."""
        for side in self.sides:
            log = self.directory / "logs" / "import.log"
            side.import_peak = import_mib(side.translator.python, side.translator.imports, log)
        for work in self.works:
            sides = [side for side in self.sides if side.translator.long or not work.long]
            for side in sides:
                self._attempt(side, work, lambda side=side, work=work: self._choose(side, work))
            for _ in range(1 if work.long else number - 1):
                for side in (side for side in sides if work in side.done):
                    self._attempt(side, work, lambda side=side, work=work: self._measure(side, work))

    def _attempt(self, side: Side, work: Work, act: object) -> None:
        try:
            act()  # type: ignore[operator]
        except ContenderError as error:
            side.failures[work] = str(error)
            side.done.pop(work, None)
            print(f"  {work.name}, beam {work.beam}, {side.translator.name}: {error}", file=sys.stderr, flush=True)

    def _choose(self, side: Side, work: Work) -> None:
        """Finds the best setting; its trial is the first round. The long file takes the test set's."""
        if work.long:
            known = next(done for test, done in side.done.items() if test.beam == work.beam and not test.single)
            side.done[work] = Measured(known.setting)
            return
        settings = side.translator.single if work.single else side.translator.batched
        tried = [self._run(side.translator, setting, work) for setting in settings]
        side.done[work] = max(tried, key=lambda measured: measured.speeds[0])
        self._say(side, work)

    def _measure(self, side: Side, work: Work) -> None:
        known = side.done[work]
        new = self._run(side.translator, known.setting, work)
        known.speeds += new.speeds
        known.latencies += new.latencies
        known.peaks += new.peaks
        known.translations = new.translations
        self._say(side, work)

    def _run(self, translator: Translator, setting: Setting, work: Work) -> Measured:
        output = self.directory / "translated.json"
        output.unlink(missing_ok=True)
        command = [*translator.command, *work.flags, "--output", output, "--threads", str(self.threads)]
        environment = {"TOKENIZERS_PARALLELISM": "false", **setting.environment}
        log = self.directory / "logs" / f"{translator.name.replace(' ', '-').replace(',', '')}.log"
        finished = run([*command, *setting.flags], log, environment, limit=900)
        record = json.loads(output.read_text())
        speed = record["sentences"] / median(record["passes"])
        return Measured(setting, [speed], record["latencies"], [finished.peak_mib], record["translations"])

    def _say(self, side: Side, work: Work) -> None:
        done = side.done[work]
        said = f"{done.speeds[-1]:.1f} sentences/s {done.setting.label}"
        print(f"  {work.name}, beam {work.beam}, {side.translator.name}: {said}", file=sys.stderr, flush=True)


def speeds(bench: Bench) -> dict[str, dict[str, list[float]]]:
    """Every round's speed, for the picture."""
    groups: dict[str, dict[str, list[float]]] = {}
    for work in bench.works:
        done = {side.translator.name: side.done[work].speeds for side in bench.sides if work in side.done}
        if done:
            groups[f"translating, {work.name}, beam {work.beam}"] = done
    return groups


def markdown(bench: Bench) -> str:
    """A table for every kind of work, and how many translations differ."""
    parts = []
    for name in dict.fromkeys(work.name for work in bench.works):
        rows = [row for work in bench.works if work.name == name for row in _rows(bench, work)]
        single = name == "one at a time"
        latency = ["p50 ms", "p99 ms"] if single else []
        header = ["", "beam", "sentences/s", "heedful's best to this", *latency, "peak MiB", "beyond imports"]
        scored = name == "test set"
        header += ["BLEU", "lines unlike heedful's float32"] if scored else []
        lines = f" (the first {SINGLE_LINES} sentences)" if single else ""
        parts.append(f"**{name}**{lines}, {bench.threads} threads:\n\n{table([*header, 'setting'], rows)}")
    return "\n\n".join(parts)


def _rows(bench: Bench, work: Work) -> list[list[str]]:
    sides = [side for side in bench.sides if work in side.done]
    ours = [side for side in sides if side.translator.name.startswith("heedful")]
    best = max(ours, key=lambda side: median(side.done[work].speeds), default=None)
    rows = []
    for side in sides:
        done = side.done[work]
        ratio = ratios(best.done[work].speeds, done.speeds).show(2) + "×" if best and side not in ours else ""
        row = [side.translator.name, str(work.beam), Spread.of(done.speeds).show(1 if work.single else 0), ratio]
        if work.single:
            cuts = quantiles(done.latencies, n=100)
            row += [f"{1000 * median(done.latencies):.1f}", f"{1000 * cuts[98]:.1f}"]
        row += [f"{median(done.peaks):.0f}", f"{median(done.peaks) - side.import_peak:.0f}"]
        if not work.single and not work.long:
            first = ours[0].done[work].translations if ours else ()
            unlike = sum(a != b for a, b in zip(first, done.translations, strict=False))
            score = bleu(list(done.translations), bench.references, bench.text.target)
            row += [f"{score.value:.2f}", str(unlike)]
        rows.append([*row, done.setting.label])
    width = len(rows[0]) if rows else 8
    for side in bench.sides:
        if work in side.failures:
            reason = f"failed: {side.failures[work][:80]}"
            rows.append([side.translator.name, str(work.beam), reason, *[""] * (width - 3)])
        elif work.long and not side.translator.long:
            rows.append([side.translator.name, str(work.beam), "not run: too slow", *[""] * (width - 3)])
    return rows + [[name, str(work.beam), "not installed", *[""] * (width - 3)] for name in bench.missing]
