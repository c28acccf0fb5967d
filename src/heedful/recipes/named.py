"""The recipes by name."""

import difflib

from heedful.data.config import DataConfig
from heedful.errors import HeedfulError
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.recipes import paper
from heedful.recipes.config import Recipe
from heedful.training.config import TrainingConfig

DEFAULT = "tiny"

_small_data = TrainingConfig(
    schedule="inverse-sqrt",
    lr=3e-3,
    warmup_steps=1000,
    clip_norm=1.0,
    ema_decay=0.999,
    validate_every=500,
    patience=12,
    max_steps=30_000,
)
_recurrent = TrainingConfig(
    schedule="inverse-sqrt",
    lr=2e-3,
    beta2=0.999,
    adam_epsilon=1e-8,
    warmup_steps=500,
    clip_norm=1.0,
    ema_decay=0.999,
    validate_every=500,
    patience=12,
    max_steps=30_000,
)

_RECIPES = (
    Recipe(
        "rnn",
        "RNN Seq2Seq: everything the decoder knows of the source is one fixed-length state.",
        RecurrentConfig(attention="none", share_embeddings="all"),
        DataConfig(batch_tokens=2048),
        _recurrent,
    ),
    Recipe(
        "rnn-attention",
        "RNN Seq2Seq with attention: the decoder looks at every encoder state at every step.",
        RecurrentConfig(attention="dot", share_embeddings="all"),
        DataConfig(batch_tokens=2048),
        _recurrent,
    ),
    Recipe(
        "tiny",
        "A small Transformer for some ten thousand pairs; the default.",
        TransformerConfig(layers=4, d_model=128, d_ff=256, heads=4, dropout=0.2, norm_position="pre"),
        DataConfig(batch_tokens=2048),
        _small_data,
    ),
    *paper.RECIPES,
)


def recipes() -> tuple[Recipe, ...]:
    """All of them, in the lecture's order."""
    return _RECIPES


def recipe(name: str) -> Recipe:
    """The recipe of that name. Raises `HeedfulError` naming the nearest."""
    by_name = {known.name: known for known in _RECIPES}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, 1, 0.0)[0]
        raise HeedfulError(f"unknown recipe {name}; the nearest is {near}, `heedful recipes` lists them all")
    return by_name[name]
