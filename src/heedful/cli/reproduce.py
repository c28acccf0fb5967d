"""`heedful reproduce NAME`: the paper's tables and the lecture's claims, made anew."""

import argparse
import sys
from pathlib import Path

from heedful.cli.translate import use_threads
from heedful.errors import HeedfulError


def run(arguments: argparse.Namespace) -> int:
    """The one that was named."""
    code: int = arguments.run(arguments)
    return code


def table1(arguments: argparse.Namespace) -> int:
    """Prints the tables; they, their numbers and the picture go to the directory."""
    from heedful.checkpoint import write_file
    from heedful.inspection.picture import check_matplotlib
    from heedful.model.build import device_named
    from heedful.progress import progress
    from heedful.reproduce.sheets import markdown, plain
    from heedful.reproduce.table1.picture import save_picture
    from heedful.reproduce.table1.report import headline, sheets, to_csv
    from heedful.reproduce.table1.table import QUICK, Plan, make_table

    check_matplotlib()
    use_threads(arguments.threads)
    device, output = device_named(arguments.device), Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)  # whether that is possible is known before the work
    with progress("table1", total=1.0) as meter:
        table = make_table(QUICK if arguments.quick else Plan(), device, meter)
    made = sheets(table)
    write_file(output / "table1.md", f"{markdown(made)}\n{headline(table)}\n\n{table.machine}\n".encode())
    write_file(output / "table1.csv", to_csv(table).encode())
    save_picture(output / "table1.png", table)
    print(f"{plain(made)}\n\n{headline(table)}\n\n{table.machine}\nIn {output}: table1.md, table1.csv, table1.png")
    return 0


def table3(arguments: argparse.Namespace) -> int:
    """Trains what is not trained yet and prints how it compares; 128 + the signal's number where one stopped it."""
    from heedful.reproduce.table3.profile import PROFILES, chosen_rows

    rows, profile, seeds = chosen_rows(arguments.rows), PROFILES[arguments.profile], _seeds(arguments)
    from heedful.evaluation.tables import columns
    from heedful.inspection.picture import check_matplotlib
    from heedful.model.build import device_named
    from heedful.reproduce.table3.data import corpora
    from heedful.reproduce.table3.experiment import Experiment
    from heedful.reproduce.table3.report import listing, save_report
    from heedful.training.distributed import rank

    check_matplotlib()
    use_threads(arguments.threads)
    device, output = device_named(arguments.device), Path(arguments.output)
    data = corpora(Path(arguments.data), (arguments.source_lang, arguments.target_lang), profile, output / "data")
    experiment = Experiment.of(rows, profile, seeds, data, output, arguments.device)
    if arguments.list:
        print("\n".join(columns(listing(experiment))))
        return 0
    signal = experiment.work()
    if rank() == 0:
        print(save_report(experiment.table(device), output))
        if signal:
            print("the same command goes on from here", file=sys.stderr)
    return 128 + signal if signal else 0


def lecture(arguments: argparse.Namespace) -> int:
    """Prints what was seen in each experiment; pictures, tables and numbers go to the directory."""
    from heedful.inspection.picture import check_matplotlib
    from heedful.model.build import device_named
    from heedful.reproduce.lecture.bench import Bench
    from heedful.reproduce.lecture.experiments import carry_out, chosen
    from heedful.reproduce.lecture.profile import PROFILES
    from heedful.reproduce.lecture.trainings import StoppedError

    experiments, seeds = chosen(arguments.only), _seeds(arguments)
    check_matplotlib()
    use_threads(arguments.threads)
    device, output = device_named(arguments.device), Path(arguments.output)
    output.mkdir(parents=True, exist_ok=True)
    data = (Path(arguments.data), arguments.source_lang, arguments.target_lang) if arguments.data else None
    bench = Bench(PROFILES[arguments.profile], seeds, device, output, data)
    try:
        for name, seen in carry_out(experiments, bench):
            print(f"{name}: {seen}", flush=True)
    except StoppedError as stopped:
        print("the same command goes on from here", file=sys.stderr)
        return 128 + stopped.signal
    print(f"In {output}: lecture.md, and {', '.join(f'{each.name}.md, .csv, .png' for each in experiments)}")
    return 0


def _seeds(arguments: argparse.Namespace) -> tuple[int, ...]:
    """1 to the number that was given."""
    if arguments.seeds < 1:
        raise HeedfulError(f"--seeds {arguments.seeds} is none; give 1 or more")
    return tuple(range(1, arguments.seeds + 1))
