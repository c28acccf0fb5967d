"""CTranslate2 with a converted model.

    python -m benchmarks.peers.ctranslate2_translate --model DIR --vocabulary FILE --input FILE --output JSON
        [--compute-type int8] [--inter-threads 2] [--batch 64] [--beam-size 5]

CT2_USE_MKL chooses the kernels and is the caller's to set. --threads is divided among --inter-threads translations.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import sentencepiece

from benchmarks.peers.measured import Translate, measure, parser

MAX_DECODING_LENGTH = 128


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--vocabulary", type=Path, required=True, help="SentencePiece model")
    arguments.add_argument("--compute-type", default="float32", help="float32, int8, …")
    arguments.add_argument("--inter-threads", type=int, default=1, help="translations at the same time")
    arguments.add_argument("--batch", type=int, default=64, help="max_batch_size, in sentences")
    measure(arguments.parse_args(), load)


def load(arguments: argparse.Namespace) -> Translate:
    """No length penalty, so that scores are log-probabilities."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(arguments.vocabulary))
    translator = ctranslate2.Translator(
        str(arguments.model),
        compute_type=arguments.compute_type,
        inter_threads=arguments.inter_threads,
        intra_threads=max(1, arguments.threads // arguments.inter_threads),
    )

    def translate(lines: Sequence[str]) -> list[str]:
        found = translator.translate_batch(
            pieces.encode(list(lines), out_type=str),
            max_batch_size=arguments.batch,
            beam_size=arguments.beam_size,
            length_penalty=0,
            disable_unk=True,
            max_decoding_length=MAX_DECODING_LENGTH,
        )
        return pieces.decode([result.hypotheses[0] for result in found])

    return translate


if __name__ == "__main__":
    main()
