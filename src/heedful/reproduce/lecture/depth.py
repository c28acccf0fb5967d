"""Skip connections and norms: what reaches the first layers, and what is learned, at growing depth."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.transformer import Transformer
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import Finding, Line, mean, three
from heedful.reproduce.lecture.gradient import VOCAB, random_batch
from heedful.reproduce.lecture.tasks import TEST
from heedful.reproduce.lecture.trainings import Trained, train_all
from heedful.reproduce.panels import COLOURS, MUTED, frame, legend, page
from heedful.reproduce.sheets import Sheet
from heedful.training.objective import Objective

_LENGTH = 32
"""Tokens of the random sentences."""
_NORMS = (
    ("no norm", "none", "post"),
    ("layer norm, post", "layer", "post"),
    ("layer norm, pre", "layer", "pre"),
    ("batch norm, post", "batch", "post"),
    ("batch norm, pre", "batch", "pre"),
)
"""Label, norm and its position."""

Norms = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """What surrounds each sublayer of a stack."""

    norm: str
    """Its label."""
    skip: bool
    config: TransformerConfig

    @property
    def name(self) -> str:
        """In tables."""
        return f"{self.norm}, {'skip' if self.skip else 'no skip'}"

    @property
    def file(self) -> str:
        """In the names of trainings."""
        words = self.name.replace(",", "").replace(" ", "-")
        return f"depth-{self.config.layers}-{words}"


@dataclass(frozen=True)
class Stacked:
    """A variant, measured."""

    variant: Variant
    by_layer: Norms
    """Gradient norm of each encoder layer's weights, then of each decoder layer's, before training."""
    scores: Sequence[float]
    """By seed, 0 where it diverged."""
    perplexities: Sequence[float | None]
    """By seed, None where it diverged."""

    @property
    def reach(self) -> float:
        """Gradient of the encoder's first layer over that of the decoder's last, which is next to the loss."""
        return float(self.by_layer[0] / self.by_layer[-1])

    @property
    def score(self) -> float:
        """Over seeds."""
        return mean(self.scores)


def variants(deep: TransformerConfig, depth: int) -> Iterator[Variant]:
    """With skip connections and without; no norm, or layer or batch norm after the sum or before the sublayer."""
    for label, norm, position in _NORMS:
        for skip in (True, False):
            config = replace(deep, layers=depth, norm=norm, norm_position=position, skip=skip)  # type: ignore[arg-type]
            yield Variant(label, skip, config)


def by_layer(model: Transformer, sentences: int, seed: int) -> Norms:
    """Gradient norm of every layer's weights together, encoder first; a batch norm sees the batch, as in training."""
    model = model.double().train()
    loss, _ = Objective(model, label_smoothing=0.0)(random_batch(sentences, _LENGTH, _LENGTH, seed).to(model.device))
    layers: list[nn.Module] = [*model.encoder.layers, *model.decoder.layers]
    weights = [list(layer.parameters()) for layer in layers]
    gradients = iter(torch.autograd.grad(loss, [each for group in weights for each in group]))
    squares = [sum(float(next(gradients).square().sum()) for _ in group) for group in weights]
    norms: Norms = np.sqrt(squares)
    return norms


def _stacked(variant: Variant, trained: Sequence[Trained], bench: Bench, score: Any) -> Stacked:
    runs = []
    for seed in bench.seeds:
        torch.manual_seed(seed)
        model = build_model(variant.config, VOCAB, VOCAB).to(bench.device)
        assert isinstance(model, Transformer)
        runs.append(by_layer(model, bench.profile.sentences, seed))
    return Stacked(
        variant,
        np.mean(runs, axis=0),
        [score(each.answers[TEST]) for each in trained],
        [each.result.perplexity if each.result else None for each in trained],
    )


def _make(bench: Bench) -> Finding:
    task, profile = bench.dates(), bench.profile
    references = [target for _, target in task.tests[TEST].pairs()]
    every = [each for depth in profile.depths for each in variants(profile.deep, depth)]
    trained = train_all(bench, task, {each.file: each.config for each in every}, profile.deep_steps)

    def score(answers: Sequence[str]) -> float:
        return task.score(answers, references)

    found = [_stacked(each, [run for run in trained if run.name == each.file], bench, score) for each in every]
    numbers: list[Line] = [["depth", "norm", "skip", "stack", "layer", "gradient_norm", "score", "perplexity"]]
    for each in found:
        depth = each.variant.config.layers
        perplexity = _perplexity(each.perplexities)
        for place, norm in enumerate(each.by_layer):
            stack = "encoder" if place < depth else "decoder"
            label: Line = [depth, each.variant.norm, str(each.variant.skip).lower(), stack, place % depth + 1]
            numbers.append([*label, float(norm), each.score, perplexity])
    return Finding(
        _sheets(found, bench, task.metric), numbers, _seen(found), lambda path: _draw(path, found, task.metric)
    )


def _perplexity(by_seed: Sequence[float | None]) -> float | str:
    """The mean's exponent over seeds, unless one diverged."""
    logs = [math.log(each) for each in by_seed if each is not None]
    return math.exp(mean(logs)) if len(logs) == len(by_seed) else "diverged"


def _depths(found: Sequence[Stacked]) -> list[int]:
    return list(dict.fromkeys(each.variant.config.layers for each in found))


def _by_name(found: Sequence[Stacked]) -> Mapping[str, list[Stacked]]:
    """One for each depth."""
    names = dict.fromkeys(each.variant.name for each in found)
    return {name: [each for each in found if each.variant.name == name] for name in names}


def _sheets(found: Sequence[Stacked], bench: Bench, metric: str) -> list[Sheet]:
    header = ["variant", *(f"{depth} layers" for depth in _depths(found))]
    profile = bench.profile
    fresh = (
        "Gradient norm of the encoder's first layer, divided by that of the decoder's last; fresh weights, random "
        f"sentences, seeds {bench.seed_names}."
    )
    learned = (
        f"Dates, {profile.deep_steps:,} updates, d_model {profile.deep.d_model}, peak learning rate {profile.lr:g}, "
        f"seeds {bench.seed_names}"
    )
    rows = _by_name(found).items()
    return [
        Sheet("What reaches the first layer", fresh, [header, *([n, *(three(e.reach) for e in r)] for n, r in rows)]),
        Sheet(metric.capitalize(), f"{learned}.", [header, *([n, *(f"{e.score:.1f}" for e in r)] for n, r in rows)]),
        Sheet(
            "Perplexity",
            f"{learned}; of the validation set.",
            [header, *([n, *(_shown(_perplexity(e.perplexities)) for e in r)] for n, r in rows)],
        ),
    ]


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else three(value)


def _seen(found: Sequence[Stacked]) -> str:
    """At the greatest depth."""
    depth = _depths(found)[-1]
    deepest = [each for each in found if each.variant.config.layers == depth]
    parts = []
    for skip in (True, False):
        group = [each for each in deepest if each.variant.skip == skip]
        reaches = sorted(each.reach for each in group)
        scores = ", ".join(f"{each.score:.1f} ({each.variant.norm})" for each in group)
        parts.append(
            f"{'with' if skip else 'without'} skip connections the first layer's gradient is {three(reaches[0])} to "
            f"{three(reaches[-1])} of the last one's and lines right are {scores}"
        )
    return f"at {depth} layers, {'; '.join(parts)}."


def _draw(path: Path, found: Sequence[Stacked], metric: str) -> None:
    from matplotlib.ticker import NullFormatter

    depths = _depths(found)
    title = "Norms, with skip connections (dashed: without): gradients of fresh weights, and what is learned"
    with page(path, 4.6 * max(2, len(depths)), 8.2, title) as figure:
        panels = figure.subplots(2, max(2, len(depths)), squeeze=False)
        for panel, depth in zip(panels[0], depths, strict=False):
            for each in found:
                if each.variant.config.layers == depth:
                    panel.plot(range(1, 2 * depth + 1), each.by_layer, **_look(each.variant))
            panel.axvline(depth + 0.5, color=MUTED, linewidth=0.8)
            panel.set_yscale("log")
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.set_xticks([1, depth, 2 * depth], ["1", f"{depth} | 1", str(depth)])
            panel.set_xlabel("layers of the encoder | of the decoder", color=MUTED)
            frame(panel, f"gradient norm by layer, {depth} layers")
        for panel, skip in zip(panels[1], (True, False), strict=False):
            for runs in _by_name(found).values():
                if runs[0].variant.skip == skip:
                    panel.plot(range(len(depths)), [each.score for each in runs], marker="o", **_look(runs[0].variant))
            panel.set_xticks(range(len(depths)), [str(depth) for depth in depths])
            panel.set_ylim(0, 102)
            panel.set_xlabel("layers of the encoder, and of the decoder", color=MUTED)
            frame(panel, f"{metric}, {'with' if skip else 'without'} skip connections")
        for panel in [*panels[0][len(depths) :], *panels[1][2:]]:
            panel.set_visible(False)
        legend(figure, panels[1][0], columns=3)


def _look(variant: Variant) -> dict[str, Any]:
    """A colour for the norm, dashes without skip connections; the legend is of those with."""
    colour = COLOURS[[label for label, _, _ in _NORMS].index(variant.norm)]
    return {"color": colour, "linestyle": "-" if variant.skip else (0, (3, 2)), "label": variant.norm, "linewidth": 1.7}


EXPERIMENT = Experiment(
    "depth",
    "skip connections and normalisation are there against vanishing gradients; layer norm looks at each input, batch "
    "norm at the whole batch.",
    _make,
)
