"""Skip connections and norms: what reaches the first layers, and what is learned, at growing depth."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from heedful.data.corpus import Corpus
from heedful.data.tokenizer import EOS, Tokenizer, Tokenizers
from heedful.evaluation.likelihood import perplexity
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.transformer import Transformer
from heedful.reproduce.lecture.bench import Bench, Experiment
from heedful.reproduce.lecture.finding import Finding, Line, mean, three
from heedful.reproduce.lecture.gradient import VOCAB, random_batch
from heedful.reproduce.lecture.trainings import Trained, train_all
from heedful.reproduce.panels import COLOURS, INK, MUTED, frame, legend, logarithmic, page
from heedful.reproduce.sheets import Sheet
from heedful.training.objective import Objective

_LENGTH = 32
"""Tokens of the random sentences."""
_GRADIENTS, _PERPLEXITIES = (1e-12, 1e7), (1.0, 100.0)
"""What the picture tells apart; what lies beyond is drawn at the bound."""
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
    perplexities: Sequence[float | None]
    """By seed, of a validation token; None where it diverged."""

    @property
    def encoder_reach(self) -> float:
        """Gradient of the encoder's first layer over that of the decoder's last, which is next to the loss."""
        return float(self.by_layer[0] / self.by_layer[-1])

    @property
    def decoder_reach(self) -> float:
        """The same of the decoder's first layer."""
        return float(self.by_layer[self.variant.config.layers] / self.by_layer[-1])

    @property
    def perplexity(self) -> float | str:
        """The mean's exponent over seeds, unless one diverged."""
        logs = [math.log(each) for each in self.perplexities if each is not None]
        return math.exp(mean(logs)) if len(logs) == len(self.perplexities) else "diverged"


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


def _stacked(variant: Variant, trained: Sequence[Trained], bench: Bench) -> Stacked:
    runs = []
    for seed in bench.seeds:
        torch.manual_seed(seed)
        model = build_model(variant.config, VOCAB, VOCAB).to(bench.device)
        assert isinstance(model, Transformer)
        runs.append(by_layer(model, bench.profile.sentences, seed))
    perplexities = [each.result.perplexity if each.result else None for each in trained]
    return Stacked(variant, np.mean(runs, axis=0), perplexities)


def _make(bench: Bench) -> Finding:
    task, profile = bench.dates(), bench.profile
    every = [each for depth in profile.depths for each in variants(profile.deep, depth)]
    configs = {each.file: each.config for each in every}
    trained = train_all(bench, task, configs, profile.deep_steps, tests=())
    found = [_stacked(each, [run for run in trained if run.name == each.file], bench) for each in every]
    tokenizer = Tokenizers.load(trained[0].directory).target
    return _finding(found, by_frequency(tokenizer, task.train, task.valid), bench)


def by_frequency(tokenizer: Tokenizer, train: Corpus, valid: Corpus) -> float:
    """Perplexity of a validation token where nothing is known but how often each is in training, plus one."""

    def tokens(corpus: Corpus) -> Iterator[int]:
        for _, target in corpus.pairs():
            yield from (*tokenizer.encode(target), EOS)

    counts, asked = Counter(tokens(train)), list(tokens(valid))
    total = counts.total() + tokenizer.vocab_size
    return perplexity(math.fsum(math.log((counts[token] + 1) / total) for token in asked), len(asked))


def _finding(found: Sequence[Stacked], frequencies: float, bench: Bench) -> Finding:
    numbers: list[Line] = [["depth", "norm", "skip", "stack", "layer", "gradient_norm", "perplexity"]]
    for each in found:
        depth = each.variant.config.layers
        for place, norm in enumerate(each.by_layer):
            stack = "encoder" if place < depth else "decoder"
            label: Line = [depth, each.variant.norm, str(each.variant.skip).lower(), stack, place % depth + 1]
            numbers.append([*label, float(norm), each.perplexity])
    return Finding(
        _sheets(found, frequencies, bench),
        numbers,
        _seen(found, frequencies),
        lambda path: _draw(path, found, frequencies),
    )


def _depths(found: Sequence[Stacked]) -> list[int]:
    return list(dict.fromkeys(each.variant.config.layers for each in found))


def _by_name(found: Sequence[Stacked]) -> Mapping[str, list[Stacked]]:
    """One for each depth."""
    names = dict.fromkeys(each.variant.name for each in found)
    return {name: [each for each in found if each.variant.name == name] for name in names}


def _sheets(found: Sequence[Stacked], frequencies: float, bench: Bench) -> list[Sheet]:
    depths, profile, rows = _depths(found), bench.profile, _by_name(found).items()
    reached = ["variant", *(f"{depth} layers: {stack}" for depth in depths for stack in ("encoder", "decoder"))]
    fresh = (
        "Gradient norm of the encoder's first layer and of the decoder's first, divided by that of the decoder's last; "
        f"fresh weights, random sentences, seeds {bench.seed_names}."
    )
    learned = (
        f"Of a token of the validation set; dates, {profile.deep_steps:,} updates, d_model {profile.deep.d_model}, "
        f"peak learning rate {profile.lr:g}, seeds {bench.seed_names}. "
        f"The tokens' frequencies alone give {three(frequencies)}."
    )
    reaches = [[name, *(three(reach) for e in r for reach in (e.encoder_reach, e.decoder_reach))] for name, r in rows]
    perplexities = [[name, *(_shown(e.perplexity) for e in r)] for name, r in rows]
    return [
        Sheet("What reaches the first layers", fresh, [reached, *reaches]),
        Sheet("Perplexity", learned, [["variant", *(f"{depth} layers" for depth in depths)], *perplexities]),
    ]


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else three(value)


def _seen(found: Sequence[Stacked], frequencies: float) -> str:
    """At the greatest depth."""
    depth = _depths(found)[-1]
    parts = []
    for skip in (True, False):
        group = [each for each in found if (each.variant.config.layers, each.variant.skip) == (depth, skip)]
        encoder, decoder = [each.encoder_reach for each in group], [each.decoder_reach for each in group]
        perplexities = ", ".join(f"{_shown(each.perplexity)} ({each.variant.norm})" for each in group)
        parts.append(
            f"{'with' if skip else 'without'} skip connections the gradient of the encoder's first layer is "
            f"{_range(encoder)} of that of the decoder's last, the gradient of the decoder's first {_range(decoder)}, "
            f"and perplexity is {perplexities}"
        )
    known = f"The tokens' frequencies alone give {three(frequencies)}."
    return f"at {depth} layers, {'; '.join(parts)}. {known}"


def _range(values: Sequence[float]) -> str:
    ends = dict.fromkeys((three(min(values)), three(max(values))))
    return " to ".join(ends)


def _draw(path: Path, found: Sequence[Stacked], frequencies: float) -> None:
    depths = _depths(found)
    weakest, strongest = (f"$10^{{{math.log10(norm):.0f}}}$" for norm in _GRADIENTS)
    title = (
        "Gradients of fresh weights by layer, and what is learned "
        f"(what lies beyond {weakest}, {strongest} or {_PERPLEXITIES[1]:g} is drawn there)"
    )
    with page(path, 3.3 * (len(depths) + 1), 6.6, title) as figure:
        panels = figure.subplots(2, len(depths) + 1)
        for row, skip in zip(panels, (True, False), strict=True):
            group = [each for each in found if each.variant.skip == skip]
            for panel, depth in zip(row, depths, strict=False):
                panel.sharey(row[0])
                _draw_gradients(panel, depth, [each for each in group if each.variant.config.layers == depth])
                panel.tick_params(labelleft=panel is row[0])
            row[0].set_ylabel(f"{'with' if skip else 'without'} skip connections", fontsize=10.5, color=INK)
            _draw_perplexities(row[-1], depths, _by_name(group), frequencies)
        legend(figure, panels[0][-1], columns=len(_NORMS) + 1)


def _draw_gradients(panel: Any, depth: int, found: Sequence[Stacked]) -> None:
    """The encoder's layers, then the decoder's, a line for each stack."""
    from matplotlib.ticker import NullFormatter

    for each in found:
        norms = np.clip(each.by_layer, *_GRADIENTS)
        panel.plot(range(1, depth + 1), norms[:depth], **_look(each.variant))
        panel.plot(range(depth + 1, 2 * depth + 1), norms[depth:], **_look(each.variant))
    panel.axvline(depth + 0.5, color=MUTED, linewidth=0.8)
    panel.set_yscale("log")
    panel.yaxis.set_minor_formatter(NullFormatter())
    panel.set_xticks([1, depth, 2 * depth], ["1", f"{depth} | 1", str(depth)])
    panel.set_xlabel("layers of the encoder | of the decoder", color=MUTED)
    frame(panel, f"gradient norm, {depth} layers")


def _draw_perplexities(
    panel: Any, depths: Sequence[int], found: Mapping[str, Sequence[Stacked]], frequencies: float
) -> None:
    """Over depth; one that diverged is infinite."""
    for runs in found.values():
        reached = [math.inf if isinstance(each.perplexity, str) else each.perplexity for each in runs]
        look = _look(runs[0].variant)
        panel.plot(range(len(depths)), np.clip(reached, *_PERPLEXITIES), marker="o", **look)
    panel.axhline(frequencies, color=INK, linewidth=1, linestyle=":", label="token frequencies alone")
    panel.set_yscale("log")
    panel.set_ylim(_PERPLEXITIES[0], 1.3 * _PERPLEXITIES[1])
    logarithmic(panel.yaxis)
    panel.set_xticks(range(len(depths)), [str(depth) for depth in depths])
    panel.set_xlabel("layers of the encoder, and of the decoder", color=MUTED)
    frame(panel, "perplexity of a token")


def _look(variant: Variant) -> dict[str, Any]:
    """A colour for the norm."""
    return {"color": COLOURS[[label for label, _, _ in _NORMS].index(variant.norm)], "label": variant.norm}


EXPERIMENT = Experiment(
    "depth",
    "skip connections and normalisation are there against vanishing gradients; layer norm looks at each input, batch "
    "norm at the whole batch.",
    _make,
)
