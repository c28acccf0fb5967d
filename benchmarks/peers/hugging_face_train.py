"""A plain PyTorch loop around Hugging Face's Marian, on batches of token ids that were prepared before.

    python -m benchmarks.peers.hugging_face_train --model DIR --batches FILE --output DIR [--precision bfloat16] [...]

Writes OUTPUT/metrics.jsonl as heedful does: a line an update with step, loss, tokens_per_second and minutes;
with --valid also step and valid_bleu.
"""

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import sentencepiece
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.peers.hugging_face import Model, hugging_face
from benchmarks.peers.hugging_face_translate import translator
from benchmarks.peers.shape import PAD

Batch = tuple[Tensor, Tensor, Tensor]
"""Source, what the decoder reads, what it shall predict; each `[sentences, longest]`."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="heedful model directory: shape and first weights")
    parser.add_argument("--batches", type=Path, required=True, help="file of prepared batches (benchmarks/text.py)")
    parser.add_argument("--output", type=Path, required=True, help="directory for metrics.jsonl")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32", help="bfloat16: autocast")
    parser.add_argument("--steps", type=int, default=1_000_000_000, help="updates")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate, after linear warm-up")
    parser.add_argument("--warmup-steps", type=int, default=4000, help="updates of warm-up")
    parser.add_argument("--clip-norm", type=float, default=1.0, help="largest gradient norm")
    parser.add_argument("--dropout", type=float, help="the model's own unless given")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many, validation included")
    parser.add_argument("--valid", type=Path, nargs=2, metavar="FILE", help="source and target to measure BLEU on")
    parser.add_argument("--validate-every", type=int, default=250, help="updates between two validations")
    parser.add_argument("--beam-size", type=int, default=1, help="of validations; scores are divided by the length")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    with (arguments.output / "metrics.jsonl").open("w") as metrics:
        for record in train(arguments):
            metrics.write(json.dumps(record) + "\n")
            metrics.flush()


def train(arguments: argparse.Namespace) -> Iterator[dict[str, float]]:
    """The records of every update and of every validation."""
    model = hugging_face(arguments.model, arguments.dropout).to(arguments.device).train()
    optimizer = adam(model)
    validate = validation(model, arguments.model, arguments.beam_size, *arguments.valid) if arguments.valid else None
    start = time.monotonic()
    for step, batch in enumerate(batches(arguments.batches, arguments.device), start=1):
        begun = time.monotonic()
        minutes = (begun - start) / 60
        if step > arguments.steps or minutes >= arguments.minutes:
            return
        rate = learning_rate(step, arguments.lr, arguments.warmup_steps)
        autocast = precision(arguments.device, arguments.precision)
        loss, tokens = update(model, optimizer, batch, rate, arguments.clip_norm, autocast)
        speed = tokens / (time.monotonic() - begun)
        yield {"step": step, "loss": loss, "tokens_per_second": speed, "minutes": minutes}
        if validate and step % arguments.validate_every == 0:
            yield {"step": step, "valid_bleu": validate()}


def validation(model: Model, directory: Path, beam_size: int, source: Path, target: Path) -> Callable[[], float]:
    """sacreBLEU of translations."""
    import sacrebleu

    pieces = sentencepiece.SentencePieceProcessor(model_file=str(directory / "source.model"))
    lines, references = (path.read_text(encoding="utf-8").split("\n")[:-1] for path in (source, target))
    translate = translator(model, pieces, beam_size, length_penalty=1.0)

    def score() -> float:
        model.eval()
        found = translate(lines)
        model.train()
        return float(sacrebleu.corpus_bleu(found, [references]).score)

    return score


def batches(path: Path, device: str) -> Iterator[Batch]:
    """Those of the file in its order, then again and again in new ones."""
    with np.load(path) as arrays:
        held = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    order, generator = list(range(len(held) // 3)), random.Random(1)
    while True:
        for number in order:
            source, given, wanted = (held[f"{number}/{side}"].to(device) for side in ("source", "given", "wanted"))
            yield source, given, wanted
        generator.shuffle(order)


def adam(model: Model) -> torch.optim.Optimizer:
    """Adam with the paper's settings (Section 5.3), in one fused kernel."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return torch.optim.Adam(parameters, lr=0.0, betas=(0.9, 0.98), eps=1e-9, fused=True)


def precision(device: str, name: str) -> AbstractContextManager[object]:
    """Autocast, entered anew for every update."""
    return torch.autocast(device, torch.bfloat16) if name == "bfloat16" else nullcontext()


def learning_rate(step: int, peak: float, warmup: int) -> float:
    """Linear to the peak, then with the inverse square root of the step."""
    return peak * min(step / warmup, (warmup / step) ** 0.5)


def update(
    model: Model,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    rate: float,
    clip_norm: float,
    autocast: AbstractContextManager[object],
    smoothing: float = 0.1,
) -> tuple[float, int]:
    """The smoothed loss a target token, and how many there are."""
    source, given, wanted = batch
    with autocast:
        output = model(input_ids=source, attention_mask=source != PAD, decoder_input_ids=given, use_cache=False).logits
    loss = F.cross_entropy(output.float().flatten(0, 1), wanted.flatten(), ignore_index=PAD, label_smoothing=smoothing)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach()), int((wanted != PAD).sum())


if __name__ == "__main__":
    main()
