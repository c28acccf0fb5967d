"""From nothing to the first sentence: a new process that loads a model and translates, the file cache warm."""

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks.processes import run
from benchmarks.tables import Spread, ratios, table
from benchmarks.translators import translators


def markdown(model: Path, work: Path, pythons: Mapping[str, Path | None], rounds: int) -> str:
    """A table of seconds; needs CTranslate2's converted model where that is installed."""
    who, missing = translators(model, work, pythons)
    sentence = work / "first.txt"
    sentence.write_text("A man in a blue shirt is standing on a ladder.\n")
    commands = {
        "`heedful translate`": [sys.executable, "-m", "heedful", "translate", model, sentence],
        **{each.name: [*each.command, "--input", sentence, "--output", work / "first.json"] for each in who},
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name, command in commands.items():
            once = [] if name.startswith("`") else ["--seconds", "0.0001"]
            finished = run([*command, *once], work / "logs" / "startup.log")
            if number:  # the first one fills the file cache
                seconds[name].append(finished.seconds)
    first = next(iter(seconds.values()))
    rows = [
        [name, Spread.of(found).show(2), f"{ratios(found, first).middle:.2f}×" if found is not first else ""]
        for name, found in seconds.items()
    ]
    rows += [[name, "not installed", ""] for name in missing]
    return table(["", "seconds in all", "to `heedful translate`"], rows)
