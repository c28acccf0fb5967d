"""How large the experiments are. Imports no torch."""

from dataclasses import dataclass, field

from heedful.model.config import TransformerConfig


@dataclass(frozen=True)
class Profile:
    """Sizes; the recurrent models get as many parameters as the Transformer has."""

    name: str
    transformer: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(layers=2, d_model=128, d_ff=512, heads=4, dropout=0.1)
    )
    distance: int = 128
    """Source tokens of the gradient by distance."""
    sentences: int = 16
    """Of the gradients' batches."""
    lengths: tuple[int, ...] = (8, 16, 32, 64, 128, 256, 512)
    """Tokens of the sentences that are timed."""
    tokens: int = 1024
    """Of the batches that are timed."""
    seconds: float = 0.5
    """At most for one time."""
    lines: tuple[int, int, int] = (12_000, 300, 500)
    """Of the dates to train, validate and test on."""
    vocab: int = 1000
    """Of the dates."""
    data_vocab: int = 4000
    """Of --data."""
    steps: int = 2000
    """Updates of a training, 1,024 tokens each on dates, 2,048 on --data."""
    lr: float = 3e-3
    """Peak learning rate of all of them."""
    deep: TransformerConfig = field(
        default_factory=lambda: TransformerConfig(d_model=64, d_ff=128, heads=4, dropout=0.0)
    )
    """What is stacked to `depths`."""
    depths: tuple[int, ...] = (4, 8, 16)
    """Layers of the encoder, and of the decoder."""
    deep_steps: int = 500
    """Updates of its trainings."""


PROFILES = {
    each.name: each
    for each in (
        Profile(
            "seconds",
            transformer=TransformerConfig(layers=1, d_model=16, d_ff=32, heads=2, dropout=0.1),
            distance=12,
            sentences=3,
            lengths=(4, 8),
            tokens=16,
            seconds=0.01,
            lines=(90, 7, 12),
            vocab=340,
            data_vocab=300,
            steps=4,
            deep=TransformerConfig(d_model=8, d_ff=11, heads=2, dropout=0.0),
            depths=(1, 2),
            deep_steps=2,
        ),
        Profile("minutes"),
        Profile(
            "hours",
            transformer=TransformerConfig(layers=3, d_model=256, d_ff=1024, heads=4, dropout=0.1),
            distance=256,
            sentences=64,
            seconds=2.0,
            lines=(50_000, 1000, 2000),
            data_vocab=8000,
            steps=10_000,
            deep_steps=4000,
        ),
    )
}
"""By name: to try the command, to see the claims, to be sure of them."""
