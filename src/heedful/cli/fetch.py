"""`heedful fetch`."""

import argparse
import shlex
from pathlib import Path

from heedful.data.fetch import Dataset, all_datasets, dataset, fetch_dataset
from heedful.errors import HeedfulError

_UNITS = ((1e9, "GB"), (1e6, "MB"))


def fetch(arguments: argparse.Namespace) -> int:
    """Leaves line-aligned files in a directory and prints what to train on them with; without a name, the list."""
    if arguments.name is None:
        if arguments.output or arguments.mirror:
            raise HeedfulError("name a data set before --output or --mirror; `heedful fetch` lists them")
        print("\n\n".join(_described(each) for each in all_datasets().values()))
        return 0
    wanted = dataset(arguments.name)
    output = Path(arguments.output or Path("data") / wanted.name)
    files = fetch_dataset(wanted, output, arguments.mirror)
    for source, target in files.values():
        print(f"{source} {target}")
    train, valid = files["train"], files[wanted.valid]
    words = ["heedful", "train", "--recipe", wanted.recipe, "--train", *train, "--valid", *valid]
    print("\n" + shlex.join([*map(str, words), "--output", f"runs/{wanted.name}"]))
    return 0


def _described(each: Dataset) -> str:
    files = " ".join(f"{split}.{{{','.join(each.languages)}}}" for split in each.splits)
    return "\n".join(
        (
            f"{each.name}: {each.summary}",
            f"  download  {_size(each)}",
            f"  licence   {each.licence}",
            f"  source    {each.home}",
            f"  files     {files}",
        )
    )


def _size(each: Dataset) -> str:
    size = each.download_bytes
    if not size:
        return "its size is not published"
    return next(f"{size / unit:.1f} {name}" for unit, name in _UNITS if size >= unit)
