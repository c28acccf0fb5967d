"""Writes a section of docs/performance.md between its markers; the prose around stays as it is."""

import platform
import re
from importlib.metadata import version
from pathlib import Path


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
    model = platform.processor() or platform.machine()
    cores = 0
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        cores += name.strip() == "processor"
        if name.strip() == "model name":
            model = value.strip()
    return f"{model}, {cores or '?'} cores, Python {platform.python_version()}, torch {version('torch')}"


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
