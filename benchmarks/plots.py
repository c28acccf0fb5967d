"""Pictures of what was measured: bars of speeds, and BLEU against minutes.

    python -m benchmarks.plots speeds --output docs/assets/speed.png [--results build/bench/results]
    python -m benchmarks.plots bleu --output docs/assets/bleu-minutes.png NAME=DIR[@CORES]…

Minutes are those of one core: of a run on CORES of them, so many times as many. A DIR is a model directory of
heedful's, or what benchmarks/curve.py wrote: it has metrics.jsonl.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from benchmarks.processes import ROOT

_OURS, _THEIRS = "#1f5fa8", "#b9b9b9"
Speeds = Mapping[str, Sequence[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    speeds = commands.add_parser("speeds", help="bars of the last bench")
    speeds.add_argument("--output", type=Path, required=True, help="PNG")
    speeds.add_argument("--results", type=Path, default=ROOT / "build" / "bench" / "results", help="its results")
    bleu = commands.add_parser("bleu", help="validation BLEU against minutes")
    bleu.add_argument("--output", type=Path, required=True, help="PNG")
    bleu.add_argument("runs", nargs="+", metavar="NAME=DIR[@CORES]", help="a label and a directory with metrics.jsonl")
    arguments = parser.parse_args()
    if arguments.command == "speeds":
        draw_speeds(read_results(arguments.results), arguments.output)
    else:
        curves = {}
        for run in arguments.runs:
            name, _, rest = run.partition("=")
            directory, _, cores = rest.partition("@")
            curves[name] = curve(Path(directory) / "metrics.jsonl", int(cores or 1))
        draw_bleu(curves, arguments.output)


def save_results(directory: Path, name: str, unit: str, groups: Mapping[str, Speeds]) -> None:
    """Every round's speed of a section: what `draw_speeds` reads."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.json").write_text(json.dumps({"unit": unit, "groups": groups}, indent=1))


def read_results(directory: Path) -> dict[str, tuple[str, Speeds]]:
    """Unit and speeds of every group that was measured."""
    found = {}
    for path in sorted(directory.glob("*.json")):
        record = json.loads(path.read_text())
        found |= {group: (record["unit"], speeds) for group, speeds in record["groups"].items()}
    if not found:
        raise SystemExit(f"nothing was measured yet: {directory} has no results; run `make bench`")
    return found


def draw_speeds(groups: Mapping[str, tuple[str, Speeds]], output: Path) -> None:
    """A panel for each group; a bar is the median of the rounds, its line reaches from the least to the greatest."""
    rows = (len(groups) + 1) // 2
    figure, panels = plt.subplots(rows, 2, figsize=(12, 0.6 + 2.2 * rows), squeeze=False, layout="constrained")
    for panel in panels.flat[len(groups) :]:
        panel.axis("off")
    for panel, (title, (unit, speeds)) in zip(panels.flat, groups.items(), strict=False):
        names = list(speeds)[::-1]
        middle = [median(speeds[name]) for name in names]
        reach = [
            [m - min(speeds[name]) for m, name in zip(middle, names, strict=True)],
            [max(speeds[name]) - m for m, name in zip(middle, names, strict=True)],
        ]
        colours = [_OURS if name.startswith("heedful") else _THEIRS for name in names]
        panel.barh(names, middle, xerr=reach, color=colours, ecolor="#444444", capsize=3)
        for place, value in enumerate(middle):
            panel.annotate(
                f"{value:,.0f}", (value, place), xytext=(8, 7), textcoords="offset points", va="center", fontsize=9
            )
        panel.set_title(title, loc="left", fontsize=11)
        panel.set_xlabel(unit, fontsize=9)
        panel.set_xlim(0, 1.18 * max(max(speeds[name]) for name in names))
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        panel.spines[["top", "right"]].set_visible(False)
    _save(figure, output)


def curve(path: Path, cores: int = 1) -> tuple[list[float], list[float]]:
    """Minutes of one core and BLEU of every validation; a validation was as late as the last update told before it."""
    minutes, points = 0.0, []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        minutes = record.get("minutes", minutes)
        if "valid_bleu" in record:
            points.append((minutes, record["valid_bleu"]))
    return [cores * minute for minute, _ in points], [bleu for _, bleu in points]


def draw_bleu(curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], output: Path) -> None:
    """One line for each run."""
    figure, panel = plt.subplots(figsize=(8, 4.8), layout="constrained")
    for name, (minutes, bleu) in curves.items():
        panel.plot(minutes, bleu, marker="o", markersize=3, linewidth=1.8, label=name)
    panel.set_xlabel("minutes of training on one core, validation included")
    panel.set_ylabel("BLEU on the validation set")
    panel.set_ylim(bottom=0)
    panel.set_xlim(left=0)
    panel.grid(alpha=0.3)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(loc="lower right", frameon=False)
    _save(figure, output)


def _save(figure: plt.Figure, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(output, dpi=120)
    plt.close(figure)
    print(output)


if __name__ == "__main__":
    main()
