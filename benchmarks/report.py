"""Writes a section of docs/performance.md between its markers; the prose around stays as it is."""

import os
import platform
import re
from importlib.metadata import version
from pathlib import Path

from heedful.reproduce.machine import processor


def replace_section(path: Path, name: str, content: str) -> None:
    """The text between `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`; a section that is not there is appended."""
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    section = f"{begin}\n{content.strip()}\n{end}"
    found = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    new, count = found.subn(lambda _: section, text)
    path.write_text(new if count else f"{text.rstrip()}\n\n{section}\n", encoding="utf-8")


def machine() -> str:
    """What the figures were measured on."""
    return f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {version('torch')}"
