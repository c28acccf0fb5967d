"""Hugging Face's `generate` with a heedful model's weights; batches are sorted by length.

python -m benchmarks.peers.hugging_face_translate --model DIR --input FILE --output JSON [--beam-size 5] [--batch 64]
"""

import argparse
from collections.abc import Sequence

import sentencepiece
import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.peers.hugging_face import Model, hugging_face
from benchmarks.peers.measured import Translate, measure, parser
from benchmarks.peers.shape import BOS, EOS, PAD, UNK

MAX_NEW_TOKENS = 128


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--batch", type=int, default=64, help="sentences of a batch")
    measure(arguments.parse_args(), load)


def load(arguments: argparse.Namespace) -> Translate:
    """Tokens in and out by the model's own SentencePiece."""
    torch.set_num_threads(arguments.threads)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(arguments.model / "source.model"))
    return translator(hugging_face(arguments.model), pieces, arguments.beam_size, arguments.batch)


def translator(
    model: Model,
    pieces: sentencepiece.SentencePieceProcessor,
    beam_size: int = 1,
    batch: int = 64,
    length_penalty: float = 0.0,
) -> Translate:
    """Sorted batches through `generate`; without a length penalty scores are log-probabilities."""
    penalty = {"length_penalty": length_penalty} if beam_size > 1 else {}

    @torch.inference_mode()
    def translate(lines: Sequence[str]) -> list[str]:
        encoded = [torch.tensor([*tokens, EOS]) for tokens in pieces.encode(list(lines))]
        order = sorted(range(len(lines)), key=lambda row: -len(encoded[row]))
        found = [""] * len(lines)
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            source = pad_sequence([encoded[row] for row in rows], batch_first=True, padding_value=PAD)
            output = model.generate(
                source.to(model.device),
                attention_mask=(source != PAD).long().to(model.device),
                num_beams=beam_size,
                do_sample=False,
                max_new_tokens=MAX_NEW_TOKENS,
                suppress_tokens=[PAD, UNK, BOS],
                **penalty,
            )
            for row, tokens in zip(rows, output.tolist(), strict=True):
                end = tokens.index(EOS) if EOS in tokens else len(tokens)
                found[row] = pieces.decode(tokens[1:end])
        return found

    return translate


if __name__ == "__main__":
    main()
