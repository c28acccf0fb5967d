"""Does the gradient vanish on long ways? ∂loss/∂(source embedding), by distance, at the start of training."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heedful.data.batches import Batch, collate_pairs
from heedful.model.build import build_model
from heedful.model.embedding import TokenEmbedding
from heedful.model.seq2seq import Seq2Seq
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import Finding, Line, three
from heedful.reproduce.lecture.generations import generations, sizes
from heedful.reproduce.panels import COLOURS, MUTED, frame, legend, page
from heedful.reproduce.sheets import Sheet
from heedful.training.objective import Objective

VOCAB = 1000
_FIRST = 261
"""Tokens from here on are no special symbols."""

Norms = NDArray[np.float64]


def random_batch(sentences: int, source: int, target: int, seed: int) -> Batch:
    """Pairs of so many random tokens, EOS among them."""
    random = np.random.default_rng(seed)
    sides = (random.integers(_FIRST, VOCAB, (sentences, length - 1)).tolist() for length in (source, target))
    return collate_pairs(*sides)


def by_distance(model: Seq2Seq[Any, Any], batch: Batch) -> Norms:
    """Mean norm of ∂loss/∂(embedding) at each source token, the last one of the sentence first.

    The loss is that of each sentence's first target token, so the distance is what lies between reading a source
    token and the first word. In float64, since norms of 1e-40 are still numbers there; all sources equally long.
    """
    model = model.double().eval()
    met: list[Tensor] = []
    hooks = [
        module.register_forward_hook(lambda _module, _input, output: met.append(output))
        for module in model.modules()
        if isinstance(module, TokenEmbedding)
    ]
    names = ("target_input", "target_output", "target_mask")
    shortened = {name: getattr(batch, name)[:, :1] for name in names}
    first = replace(batch, **shortened, target_places=torch.arange(len(batch.lines)))
    loss, _ = Objective(model, label_smoothing=0.0)(first.to(model.device))
    for hook in hooks:
        hook.remove()
    (gradient,) = torch.autograd.grad(loss, met[0])  # the source is looked up before the target
    norms: Norms = gradient.norm(dim=-1).mean(0).flip(0).cpu().numpy()
    return norms


def _make(bench: Bench) -> Finding:
    profile = bench.profile
    configs = generations(profile.transformer, VOCAB)
    curves: dict[str, Norms] = {}
    for name, config in configs.items():
        runs = []
        for seed in bench.seeds:
            torch.manual_seed(seed)
            model = build_model(config, VOCAB, VOCAB).to(bench.device)
            runs.append(by_distance(model, random_batch(profile.sentences, profile.distance, 2, seed)))
        curves[name] = np.mean(runs, axis=0)
    note = (
        "Norm of the gradient of the first target token's loss at the d-th source token from the end, the end of "
        f"sentence counted; fresh weights, {profile.sentences} sentences of {profile.distance} random tokens, seeds "
        f"{bench.seed_names}; {sizes(configs, VOCAB)} parameters, recurrent encoders read in one direction."
    )
    shown = [2**power for power in range(profile.distance.bit_length())]
    rows = [["model", *(f"d = {distance}" for distance in shown)]]
    rows += [[name, *(three(curve[distance - 1]) for distance in shown)] for name, curve in curves.items()]
    numbers: list[Line] = [["model", "distance", "gradient_norm"]]
    numbers += [[name, at, float(norm)] for name, curve in curves.items() for at, norm in enumerate(curve, start=1)]
    return Finding(
        [Sheet("Gradient by distance", note, rows)], numbers, _seen(curves), lambda path: _draw(path, curves)
    )


def _seen(curves: Mapping[str, Norms]) -> str:
    shares = ", ".join(f"{three(curve[-1] / curve[0])} ({name})" for name, curve in curves.items())
    farthest = len(next(iter(curves.values())))
    return f"the gradient at the source token {farthest} steps away, divided by that at the nearest one, is {shares}."


def _draw(path: Path, curves: Mapping[str, Norms]) -> None:
    with page(path, 8, 4.6, "Gradient of the first target token's loss, fresh weights") as figure:
        panel = figure.subplots()
        for (name, curve), colour in zip(curves.items(), COLOURS, strict=False):
            panel.plot(range(1, len(curve) + 1), curve, color=colour, label=name, linewidth=1.9)
        panel.set_yscale("log")
        panel.set_xlabel("distance: steps from reading the source token to the first target token", color=MUTED)
        panel.set_ylabel("norm of ∂loss/∂embedding", color=MUTED)
        frame(panel, "")
        legend(figure, panel, columns=len(curves))


EXPERIMENT = Experiment("gradient", "the longer the sentence, the more its gradient vanishes in an RNN.", _make)
