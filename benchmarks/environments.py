"""The peers' own environments: their pins conflict with each other, so each has a virtual environment.

    python -m benchmarks.environments [--peers DIR] [NAME…]

PyTorch comes first and is the same release for all, so that a ratio compares toolkits and not PyTorch releases.
"""

import argparse
import subprocess
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import ROOT

TORCH = "torch==2.13.0"
PEERS = ROOT / "build" / "peers"


@dataclass(frozen=True)
class Environment:
    """What is installed for a peer, in this order, each with the reason of its pin."""

    name: str
    packages: Sequence[Sequence[str]]
    check: str
    """A statement that works where the installation is whole."""


ENVIRONMENTS = (
    Environment(
        "huggingface",
        # sentencepiece reads the vocabulary that heedful made; 0.2.1 is the first release that reads files safely
        ((TORCH,), ("transformers==5.23.0", "sentencepiece==0.2.1", "sacrebleu==2.6.0")),
        "import torch, sacrebleu, sentencepiece; from transformers import MarianMTModel",
    ),
    Environment(
        "ctranslate2",
        # no torch: CTranslate2 brings its own kernels
        (("ctranslate2==4.8.5", "sentencepiece==0.2.1", "safetensors==0.8.0"),),
        "import ctranslate2, sentencepiece, safetensors",
    ),
    Environment(
        "joeynmt",
        # 2.3.0 (January 2024) does not start with a newer sentencepiece, nor without importlib_metadata
        ((TORCH,), ("joeynmt==2.3.0", "sentencepiece==0.2.0", "importlib_metadata==8.7.0")),
        "import joeynmt.training",
    ),
    Environment(
        "eole",
        # its command imports aiohttp, which the package does not ask for
        ((TORCH,), ("eole==0.6.4", "aiohttp")),
        "import aiohttp, eole.bin.main",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"all unless given: {', '.join(each.name for each in ENVIRONMENTS)}")
    parser.add_argument("--peers", type=Path, default=PEERS, help="where the environments stand")
    arguments = parser.parse_args()
    for environment in ENVIRONMENTS:
        if not arguments.names or environment.name in arguments.names:
            print(f"{environment.name}: {_made(environment, arguments.peers / environment.name)}", flush=True)


def python_of(peers: Path, name: str) -> Path | None:
    """The interpreter of a peer; None where it is not installed."""
    python = peers.resolve() / name / "bin" / "python"
    return python if python.exists() and _works(environment(name), python) else None


def environment(name: str) -> Environment:
    """The environment of that name."""
    return next(each for each in ENVIRONMENTS if each.name == name)


def _made(environment: Environment, directory: Path) -> str:
    """Makes an environment where there is none; a peer that cannot be installed does not stop the others."""
    python = directory / "bin" / "python"
    if python.exists() and _works(environment, python):
        return "is there"
    venv.create(directory, with_pip=True)
    for packages in environment.packages:
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        if subprocess.run(command).returncode:
            return f"not installed: pip failed on {' '.join(packages)}"
    return "installed" if _works(environment, python) else f"not installed: `{environment.check}` fails"


def _works(environment: Environment, python: Path) -> bool:
    return not subprocess.run([python, "-c", environment.check], capture_output=True).returncode


if __name__ == "__main__":
    main()
