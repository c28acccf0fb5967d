"""The recipes by name."""

import difflib
from dataclasses import replace

from heedful.data.config import DataConfig
from heedful.data.treebank.config import TreeConfig
from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.recipes import paper
from heedful.recipes.config import Recipe
from heedful.training.config import TrainingConfig

DEFAULT, PARSER = "tiny", "parse-small"
"""What a training takes that names no recipe: of text, and of trees."""

_few_pairs = TrainingConfig(
    schedule="inverse-sqrt", clip_norm=1.0, ema_decay=0.999, validate_every=500, patience=12, max_steps=30_000
)
_with_muon = replace(_few_pairs, optimizer="muon", precision="auto")
_consistent = replace(
    _with_muon,
    schedule="cosine",
    lr=5e-3,
    warmup_steps=500,
    hold=0.3,
    weight_decay=0.1,
    consistency=3.0,
    validate_beam_size=5,
)
_few_pairs_search = SearchConfig(beam_size=5, length_penalty=1.5)

_RECIPES = (
    Recipe(
        "rnn",
        "RNN Seq2Seq: everything the decoder knows of the source is one fixed-length state.",
        RecurrentConfig(attention="none", share_embeddings="all"),
        DataConfig(batch_tokens=2048),
        replace(_few_pairs, lr=2e-3, warmup_steps=500, beta2=0.999, adam_epsilon=1e-8),
    ),
    Recipe(
        "rnn-attention",
        "RNN Seq2Seq with attention: the decoder looks at every encoder state at every step.",
        RecurrentConfig(attention="dot", share_embeddings="all", layers=2, d_model=384, dropout=0.3),
        DataConfig(batch_tokens=2048),
        replace(_consistent, consistency_after=2000, max_steps=6000),
        _few_pairs_search,
    ),
    Recipe(
        "tiny",
        "A small Transformer for tens of thousands of pairs; the default.",
        TransformerConfig(
            layers=4, d_model=128, d_ff=256, heads=4, dropout=0.2, positions="rotary", norm_position="pre"
        ),
        DataConfig(batch_tokens=2048, both_directions=4000),
        replace(_consistent, consistency_after=7000, max_steps=12_000),
        _few_pairs_search,
    ),
    Recipe(
        "parse-small",
        "A parser for some 3,000 to 20,000 trees (Section 6.3); the default for trees.",
        TransformerConfig(
            layers=4,
            decoder_layers=3,
            d_model=256,
            d_ff=768,
            heads=4,
            dropout=0.3,
            positions="rotary",
            norm_position="pre",
            share_embeddings="target",
            deterministic_attention="stack",
            rotary_cross_attention=True,
        ),
        DataConfig(vocab_size=4000, vocabulary="separate", substitution=0.06, batch_tokens=4096, max_length=512),
        replace(_with_muon, schedule="cosine", lr=4e-3, warmup_steps=300, max_steps=4500),
        SearchConfig(beam_size=10, length_penalty=0.3, max_extra_tokens=300),
        TreeConfig(linearisation="in-order", leaves="tags"),
        {
            "batch_tokens": 2048,
            "max_steps": 2500,
            "consistency": 2.0,
            "consistency_after": 300,
            "substitution": 0.1,
        },
    ),
    *paper.RECIPES,
)


def recipes() -> tuple[Recipe, ...]:
    """All but Table 3's rows, in the lecture's order."""
    return _RECIPES


def variations() -> tuple[Recipe, ...]:
    """Table 3's rows, in the paper's order."""
    return paper.VARIATIONS


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises `HeedfulError` naming the nearest."""
    by_name = {known.name: known for known in (*_RECIPES, *paper.VARIATIONS)}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, 1, 0.0)[0]
        raise HeedfulError(f"unknown recipe {name}; the nearest is {near}, `heedful recipes` lists them all")
    return by_name[name]
