"""`heedful dates` and `check-data`."""

import argparse
import json
import logging
from dataclasses import asdict
from pathlib import Path

from heedful.data.check import check_data as check
from heedful.data.check import render
from heedful.data.corpus import Corpus
from heedful.data.dates import digest, make_dates, write_dates
from heedful.errors import HeedfulError

logger = logging.getLogger("heedful")


def dates(arguments: argparse.Namespace) -> int:
    """Writes PREFIX.source and PREFIX.target."""
    if arguments.size < 1:
        raise HeedfulError(f"--size {arguments.size} is no number of lines; give 1 or more")
    targets = arguments.target.split(",") if "," in arguments.target else arguments.target
    examples = make_dates(
        arguments.size,
        arguments.seed,
        arguments.sources,
        targets,
        arguments.kinds,
        split=arguments.split,
        times=not arguments.no_times,
    )
    source, target = write_dates(examples, arguments.output)
    print(f"{len(examples)} lines in {source} and {target}, sha256 {digest(examples)}")
    return 0


def check_data(arguments: argparse.Namespace) -> int:
    """A report; exit code 2 only where `train` would refuse."""
    train, valid = (
        Corpus.of([Path(path) for path in paths]) if paths else None for paths in (arguments.train, arguments.valid)
    )
    assert train is not None  # argparse demands it
    try:
        test = Corpus.of([Path(path) for path in arguments.test]) if arguments.test else None
    except HeedfulError as error:
        test = None
        logger.warning(f"the test set is left out, since train does not read it: {error}")
    report = check(train, valid, test)
    print(json.dumps(asdict(report), ensure_ascii=False, indent=2) if arguments.json else render(report))
    return 2 if report.refuses else 0
