"""heedful's own contender: `heedful.load(…).translate(…)`.

python -m benchmarks.heedful_translate --model DIR --input FILE --output JSON [--beam-size 5] [--precision NAME]
"""

import argparse
from collections.abc import Sequence

import torch

import heedful
from benchmarks.peers.measured import Translate, measure, parser


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--precision", default="float32", help="as in `heedful translate --precision`")
    measure(arguments.parse_args(), load)


def load(arguments: argparse.Namespace) -> Translate:
    """No length penalty, so that scores are log-probabilities."""
    torch.set_num_threads(arguments.threads)
    translator = heedful.load(arguments.model, precision=arguments.precision)

    def translate(lines: Sequence[str]) -> list[str]:
        found = translator.translate(lines, beam_size=arguments.beam_size, length_penalty_kind="none")
        return [translation.text for translation in found]

    return translate


if __name__ == "__main__":
    main()
