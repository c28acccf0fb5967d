"""The lecture's three generations with equally many parameters. Imports no torch."""

from collections.abc import Callable, Mapping
from functools import partial

from heedful.model.complexity import parameters
from heedful.model.config import ModelConfig, RecurrentConfig, TransformerConfig

RNN, ATTENTIVE, TRANSFORMER = "rnn", "rnn-attention", "transformer"
_WIDEST = 4096


def generations(transformer: TransformerConfig, vocab: int) -> dict[str, ModelConfig]:
    """By name: the Transformer, and recurrent models as wide as its number of parameters allows.

    Recurrent encoders read in one direction, as on the slides: their last state is the end of the whole way.
    """
    wanted = parameters(transformer, vocab, vocab).total
    recurrent = partial(RecurrentConfig, bidirectional=False, dropout=transformer.dropout, share_embeddings="all")
    return {
        RNN: _as_large(wanted, vocab, partial(recurrent, attention="none")),
        ATTENTIVE: _as_large(wanted, vocab, partial(recurrent, attention="dot")),
        TRANSFORMER: transformer,
    }


def _as_large(wanted: int, vocab: int, make: Callable[..., RecurrentConfig]) -> RecurrentConfig:
    """The width whose number of parameters, which rises with it, is nearest."""
    below, above = 1, _WIDEST
    while above - below > 1:
        middle = (below + above) // 2
        if parameters(make(d_model=middle), vocab, vocab).total <= wanted:
            below = middle
        else:
            above = middle
    return min(
        (make(d_model=width) for width in (below, above)),
        key=lambda config: abs(parameters(config, vocab, vocab).total - wanted),
    )


def sizes(configs: Mapping[str, ModelConfig], vocab: int) -> str:
    """Their numbers of parameters, in a note."""
    return ", ".join(f"{parameters(config, vocab, vocab).total:,}" for config in configs.values())
