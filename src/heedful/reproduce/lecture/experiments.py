"""The experiments in the lecture's order, and what is made of those that are asked for."""

import difflib
from collections.abc import Iterator, Sequence

from heedful.checkpoint import write_file
from heedful.errors import HeedfulError
from heedful.reproduce.lecture import bottleneck, depth, gradient, positions, sequential, weights
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import write
from heedful.reproduce.machine import machine

EXPERIMENTS = tuple(module.EXPERIMENT for module in (bottleneck, gradient, sequential, weights, depth, positions))


def chosen(names: str | None) -> list[Experiment]:
    """From "gradient,sequential"; all of them unless given. Raises `HeedfulError` naming the nearest."""
    known = {each.name: each for each in EXPERIMENTS}
    wanted = [name.strip() for name in (names if names is not None else ",".join(known)).split(",")]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise HeedfulError(f"--only {name}: no such experiment; the nearest is {near}, all are {', '.join(known)}")
    return [each for each in EXPERIMENTS if each.name in wanted]


def carry_out(experiments: Sequence[Experiment], bench: Bench) -> Iterator[tuple[str, str]]:
    """Name and what was seen, of one after the other; each one's files are written, lecture.md names all there are."""
    output = bench.output
    for each in experiments:
        finding = each.make(bench)
        write(finding, output, each.name, each.claim, f"Profile {bench.profile.name}; {machine(bench.device)}")
        found = [known for known in EXPERIMENTS if (output / f"{known.name}.md").exists()]
        parts = "\n".join(f"- [{known.name}]({known.name}.md): {known.claim}" for known in found)
        write_file(output / "lecture.md", f"# The lecture's claims as experiments\n\n{parts}\n".encode())
        yield each.name, finding.seen
