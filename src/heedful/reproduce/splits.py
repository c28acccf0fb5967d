"""The files of a directory as `heedful fetch` writes it."""

from pathlib import Path

from heedful.data.corpus import Corpus
from heedful.errors import HeedfulError


def split(directory: Path, name: str, source: str, target: str) -> Corpus:
    """train, val or test, as NAME.SOURCE and NAME.TARGET; what comes after test does not matter.

    Raises `HeedfulError` where they are not there.
    """
    pattern = f"{name}*.{source}" if name == "test" else f"{name}.{source}"
    missing = directory / pattern
    for path in sorted(directory.glob(pattern)):
        other = path.with_suffix(f".{target}")
        if other.is_file():
            return Corpus.of((path, other), source, target)
        missing = other
    raise HeedfulError(
        f"{missing} is not there; --data names a directory with train, val and test as `heedful fetch` writes them, "
        "--source-lang and --target-lang their endings"
    )
