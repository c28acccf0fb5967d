"""`heedful COMMAND`: parses, runs, and turns every error a user can mend into one line and exit code 2.

Imports no torch: a command does, once its arguments are right.
"""

import argparse
import difflib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NoReturn

from heedful import __version__
from heedful.cli import arguments as commands
from heedful.errors import HeedfulError


class Parser(argparse.ArgumentParser):
    """argparse, with errors of one line that name the nearest known option."""

    def error(self, message: str) -> NoReturn:
        raise HeedfulError(f"{message}; see `{self.prog} --help`")

    def options(self) -> list[str]:
        """Every long option of this parser, and of the commands below it."""
        own = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
        below = [action.choices for action in self._actions if isinstance(action, argparse._SubParsersAction)]
        return own + [option for parsers in below for parser in parsers.values() for option in parser.options()]


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """The whole command line, and the parser of each command."""
    parser = Parser(prog="heedful", description="From two text files to a translator you can look into.")
    parser.add_argument("--version", action="version", version=f"heedful {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    known: dict[str, Parser] = {}
    for name, command in commands.COMMANDS.items():
        known[name] = subparsers.add_parser(name, help=command.summary, description=command.summary, allow_abbrev=False)
        command.add_arguments(known[name])
    return parser, known


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    _open_closed_streams()
    with suppress(ValueError):  # not the main thread: whoever called there handles signals
        signal.signal(signal.SIGTERM, _leave)
    try:
        with _reports():
            return _run(sys.argv[1:] if argv is None else list(argv))
    except HeedfulError as error:
        return _fail(str(error))
    except BrokenPipeError:  # whoever read stdout has left
        return 0
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "to allocate" not in str(error):  # PyTorch has no type for it on a CPU
            raise
        return _fail("out of memory; make the model or --batch-tokens smaller")
    except OSError as error:
        return _fail(f"{error.filename or 'input or output'}: {error.strerror or error}")


def _run(argv: Sequence[str]) -> int:
    parser, known = build_parser()
    namespace, unknown = parser.parse_known_args(argv)
    if unknown and not unknown[0].startswith("-") and getattr(namespace, "input", "") is None:
        namespace.input = unknown.pop(0)  # argparse takes it beside MODEL alone, not after an option
    if unknown:
        command = known[namespace.command]
        wrong = unknown[0].split("=")[0]
        if not wrong.startswith("--"):
            command.error(f"unexpected argument {wrong}")
        near = difflib.get_close_matches(wrong, command.options(), 1, 0.0)[0]
        command.error(f"unknown option {wrong}, the nearest is {near}")
    return commands.COMMANDS[namespace.command].run(namespace)


def _fail(message: str, code: int = 2) -> int:
    with suppress(OSError):  # nobody reads stderr
        print(f"heedful: error: {' '.join(message.split())}", file=sys.stderr)
    return code


def _leave(number: int, _frame: object) -> NoReturn:
    """SIGTERM: whatever is half-written is removed on the way out."""
    raise SystemExit(128 + number)


def _flush() -> None:
    """A full disk or a reader that has left is met here, not when the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left to write has no place
        raise


def _open_closed_streams() -> None:
    """Where the caller closed a stream (`<&-`), Python has None; it becomes an empty one."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


@contextmanager
def _reports() -> Iterator[None]:
    """What was changed or skipped is told on stderr, in lines of its own; under torchrun by the first process."""
    logger, handler = logging.getLogger("heedful"), logging.StreamHandler()
    handler.setFormatter(logging.Formatter("heedful: %(message)s"))
    if os.environ.get("RANK", "0") != "0":
        handler.setLevel(logging.CRITICAL)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate
        _flush()
