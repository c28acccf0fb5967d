"""What every translating contender does: load, warm up, translate a file, and write down how long that took.

Lines are sorted, batched, cut into pieces and put together again by the contender: that is part of the work.
Standard library only.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

Translate = Callable[[Sequence[str]], list[str]]
WARM_UP = 32


def parser(description: str | None) -> argparse.ArgumentParser:
    """The arguments that all have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--model", type=Path, required=True, help="heedful model directory, or a converted copy")
    made.add_argument("--input", type=Path, required=True, help="file with a sentence on each line")
    made.add_argument("--output", type=Path, required=True, help="JSON to write: seconds, latencies, translations")
    made.add_argument("--lines", type=int, help="only so many lines of the input")
    made.add_argument("--beam-size", type=int, default=1, help="1 is greedy")
    made.add_argument("--single", action="store_true", help="one sentence at a time, each timed")
    made.add_argument("--seconds", type=float, default=2.0, help="translates the file again until so much has passed")
    made.add_argument("--threads", type=int, default=2, help="CPU threads in all")
    return made


def measure(arguments: argparse.Namespace, load: Callable[[argparse.Namespace], Translate]) -> None:
    """Runs one contender and writes its JSON."""
    started = time.perf_counter()
    translate = load(arguments)
    loaded = time.perf_counter()
    lines = arguments.input.read_text(encoding="utf-8").split("\n")[:-1][: arguments.lines]
    for line in lines[:4] if arguments.single else []:
        translate([line])
    translate(lines[:WARM_UP])
    passes: list[float] = []
    latencies: list[float] = []
    found: list[str] = []
    while sum(passes) < arguments.seconds:
        begun = time.perf_counter()
        if arguments.single:
            found = []
            for line in lines:
                before = time.perf_counter()
                found += translate([line])
                latencies.append(time.perf_counter() - before)
        else:
            found = translate(lines)
        passes.append(time.perf_counter() - begun)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    record = {"load_seconds": loaded - started, "passes": passes, "latencies": latencies}
    arguments.output.write_text(json.dumps(record | {"sentences": len(lines), "translations": found}))
