"""Table 3 for people and for programs."""

import csv
import io
import itertools
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from heedful.checkpoint import write_file
from heedful.model.complexity import parameters
from heedful.recipes.table3 import BASE, BASE_MILLIONS, GROUPS
from heedful.reproduce.sheets import Sheet, markdown, plain
from heedful.reproduce.table3.agreement import FEWEST
from heedful.reproduce.table3.experiment import Experiment
from heedful.reproduce.table3.picture import save_picture
from heedful.reproduce.table3.table import METRICS, Line, Metric, Table


def save_report(table: Table, output: Path) -> str:
    """Writes table3.md, table3.csv and table3.png; the same for a terminal. Nothing without a run of base."""
    if BASE not in [line.row.name for line in table.lines]:
        return "No run of base is finished, which the others are compared with."
    made, said = sheets(table), f"{headline(table)}\n\n{table.machine}\n"
    write_file(output / "table3.md", f"{markdown(made)}\n{said}".encode())
    write_file(output / "table3.csv", to_csv(table).encode())
    save_picture(output / "table3.png", table)
    return f"{plain(made)}\n\n{said}In {output}: table3.md, table3.csv, table3.png"


def sheets(table: Table) -> list[Sheet]:
    """The rows beside the paper's, and how far each group has the paper's order."""
    return [_rows(table), _orders(table)]


def to_csv(table: Table) -> str:
    """A line for each run."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    own = ["perplexity", "bleu", "parameters", "steps", "seconds"]
    writer.writerow(["row", "change", "seed", *own, "paper_perplexity", "paper_bleu", "paper_parameters"])
    for line in table.lines:
        row = line.row
        for seed, each in sorted(line.results.items()):
            writer.writerow(
                [
                    *(row.name, row.change, seed, f"{each.perplexity:.6g}", f"{each.bleu:.6g}", each.parameters),
                    *(each.step, f"{each.seconds:.1f}", row.perplexity, row.bleu),
                    (row.millions or BASE_MILLIONS) * 1_000_000,
                ]
            )
    return out.getvalue()


def _rows(table: Table) -> Sheet:
    header = ["row", "change", *(f"{metric.name}{side}" for metric in METRICS for side in (", paper", ""))]
    header += ["parameters, paper", "parameters", "seeds", "minutes"]
    rows = []
    for line in table.lines:
        count = next(iter(line.results.values())).parameters
        minutes = statistics.fmean(each.seconds for each in line.results.values()) / 60
        figures = [text for metric in METRICS for text in (f"{metric.paper(line.row):g}", _spread(line, metric))]
        sizes = [f"{line.row.millions or BASE_MILLIONS} M", f"{count / 1e6:.3g} M"]
        rows.append([line.row.name, line.row.change, *figures, *sizes, str(len(line.results)), f"{minutes:.3g}"])
    note = (
        f"Profile {table.profile.name} on {table.data}: the last checkpoint of each run, without averaging; perplexity "
        f"of a token; {table.signature}. Means over seeds ± their standard deviation. Changes are named in the "
        "paper's sizes."
    )
    return Sheet("Table 3", note, [header, *rows])


def _spread(line: Line, metric: Metric) -> str:
    values = line.values(metric)
    return f"{line.mean(metric):.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")


def _orders(table: Table) -> Sheet:
    header = ["group", "by", "paper, best first", "here, best first", "pairs alike", "of these, surely"]
    rows = []
    for letter in table.groups():
        for metric in METRICS:
            lines, found = table.group(letter), table.pairs(letter, metric)
            theirs = _order(lines, {line.row.name: metric.paper(line.row) for line in lines}, metric)
            ours = _order(lines, {line.row.name: line.mean(metric) for line in lines}, metric)
            sure = f"{found.sure} of {found.several}" if found.several else "one seed"
            rows.append(
                [f"{letter}: {GROUPS[letter]}", metric.name, theirs, ours, f"{found.agree} of {found.told}", sure]
            )
    note = (
        "Of any two rows of a group, base included, that the paper tells apart: is the same one better here? Surely: "
        "of the pairs alike that have several seeds on both sides, those that stay so in 95 % of 2,000 draws of the "
        "seeds with replacement; of three seeds that is a low bar."
    )
    return Sheet("Which orders agree", note, [header, *rows])


def _order(lines: Sequence[Line], values: Mapping[str, float], metric: Metric) -> str:
    names = sorted((line.row.name for line in lines), key=values.__getitem__, reverse=metric.higher_is_better)
    text = names[0]
    for before, name in itertools.pairwise(names):
        text += f" {'=' if values[before] == values[name] else '>'} {name}"
    return text


def headline(table: Table) -> str:
    """How far the whole order agrees with the paper's."""
    if len(table.lines) < FEWEST:
        return "Too few rows are finished to compare their order with the paper's."
    said = []
    for metric in METRICS:
        found = table.correlation(metric)
        text = f"τ = {found.tau:.2f} (95 %: {found.low:.2f} to {found.high:.2f})" if found else "the same in all rows"
        said.append(f"{metric.name} {text}")
    fewest, most = table.seeds
    seeds = f"{fewest} to {most}" if fewest < most else str(most)
    return (
        f"Section 6.2: the order of {len(table.lines)} rows against the paper's, Kendall's τ_b (1: the same, 0: no "
        f"relation), bootstrap over rows and seeds: {', '.join(said)}; seeds of a row: {seeds}."
    )


def listing(experiment: Experiment) -> list[list[str]]:
    """What would run, with parameters by formula and the time it takes or took."""
    rows = [["row", "seed", "parameters", "steps", "minutes", ""]]
    found, expected = experiment.results(), experiment.expected_hours()
    total = 0.0
    for run in experiment.runs:
        vocab = run.recipe.data.vocab_size
        count = parameters(run.recipe.model, vocab, vocab).total
        done = run in found
        minutes = found[run].seconds / 60 if done else expected[run] * 60
        total += 0.0 if done else minutes
        steps = f"{run.recipe.training.max_steps:,}"
        state = "finished" if done else "expected, without validations"
        rows.append([run.name, str(run.seed), f"{count / 1e6:.3g} M", steps, _minutes(minutes), state])
    return [*rows, ["", "", "", "", _minutes(total), "still to run, in all"]]


def _minutes(value: float) -> str:
    return f"{value:,.1f}"
