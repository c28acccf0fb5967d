"""`heedful translate` and `score`."""

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from heedful.cli.fields import given_fields
from heedful.data.corpus import Corpus, read_lines
from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError

if TYPE_CHECKING:
    from heedful.decoding.translator import Translator


def translate(arguments: argparse.Namespace) -> int:
    """One line out for every line in; on a terminal each line is answered at once."""
    keep_apart(arguments.output, arguments.input)
    names = ("n_best", "precision", "sample", "temperature", "top_k", "top_p", "seed")
    options = {name: getattr(arguments, name) for name in names}
    options |= given_fields(arguments, SearchConfig)
    translator = load(arguments, arguments.model, *arguments.ensemble)
    translator.search_with(**options)  # a wrong option is told before the first line is read
    from heedful.decoding.formats import FORMATS
    from heedful.decoding.translator import WINDOW

    interactive = arguments.input is None and sys.stdin.isatty()
    lines = read_lines(arguments.input or "-", allow_empty=True)
    window = 1 if interactive else WINDOW
    written = FORMATS[arguments.format]
    translations = translator.translate_stream(lines, window=window, prefix=arguments.prefix, **options)
    with destination(arguments.output) as out:
        for number, translation in enumerate(translations):
            out.write(written(number, translation) + "\n")
            if interactive:
                out.flush()
    return 0


def score(arguments: argparse.Namespace) -> int:
    """One natural-log probability a line."""
    keep_apart(arguments.output, *arguments.pairs)
    translator = load(arguments, arguments.model)
    _, pairs = read_pairs(arguments.pairs, translator)
    scores = translator.score_pairs(pairs)
    with destination(arguments.output) as out:
        out.writelines(f"{log_prob:.6f}\n" for log_prob in scores.log_probs)
    return 0


def load(arguments: argparse.Namespace, *models: str) -> "Translator":
    """The translator of one model, or of several together, with the threads and the device that were asked for."""
    for model in models:
        if not Path(model).is_dir():
            raise HeedfulError(f"{model} is not a model directory; name one that `heedful train` wrote")
    import heedful

    use_threads(arguments.threads)
    return heedful.load(*models, device=arguments.device)


def use_threads(threads: int | None) -> None:
    """As many of the CPU's as `--threads` asks for."""
    if threads is None:
        return
    if not 1 <= threads <= 1024:
        raise HeedfulError(f"--threads {threads} cannot work; give 1 or more, up to 1024")
    import torch

    torch.set_num_threads(threads)


def read_pairs(paths: Sequence[str], translator: "Translator") -> tuple[Corpus, list[tuple[str, str]]]:
    """A corpus in the languages that the model was trained with, where the training files named any."""
    languages = translator.loaded[0].config["languages"]
    corpus = Corpus.of([Path(path) for path in paths], *(languages if languages != ["source", "target"] else ()))
    return corpus, list(corpus.pairs())


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """A text file, whole or not at all."""
    with destination(str(path)) as out:
        out.writelines(f"{line}\n" for line in lines)


def keep_apart(output: str | None, *inputs: str | None) -> None:
    """Raises `HeedfulError` where a file that is read would be written over."""
    path = Path(output) if output else None
    if path and path.is_file() and any(each and Path(each).exists() and path.samefile(each) for each in inputs):
        raise HeedfulError(f"{output} is the input too, and would be lost; name another --output")


@contextmanager
def destination(path: str | None) -> Iterator[TextIO]:
    """stdout, or a file that is written aside and appears when it is whole; a device or a pipe is written to.

    Raises `HeedfulError` where it cannot be written.
    """
    if path is None:
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        yield sys.stdout
        return
    final = Path(path)
    special = final.exists() and not final.is_file()
    final = final if special else final.resolve()
    aside = final if special else final.with_name(f".{final.name}.partial")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as out:
            yield out
        if not special:
            aside.replace(final)
    except OSError as error:
        raise HeedfulError(f"cannot write {path}: {error.strerror or error}; name another --output") from error
    finally:
        if not special:
            with suppress(OSError):
                aside.unlink()
