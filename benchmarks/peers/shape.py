"""What every peer is told about a model: the fields of config.json that fix its shape. Standard library only."""

import json
from dataclasses import dataclass
from pathlib import Path

PAD, UNK, BOS, EOS = range(4)
"""As in heedful's vocabularies."""


@dataclass(frozen=True)
class Shape:
    """A Transformer of heedful's."""

    layers: int
    decoder_layers: int
    d_model: int
    d_ff: int
    heads: int
    dropout: float
    pre_norm: bool
    """Normalised before each sublayer and after the stacks, not after each sublayer."""
    rotary: bool
    """Positions turn the queries and keys of self-attention; sinusoids otherwise."""

    @classmethod
    def of(cls, directory: Path) -> "Shape":
        """Of a model directory. Raises `ValueError` for what the peers cannot do as it is done there."""
        model = json.loads((directory / "config.json").read_text())["model"]
        known = {"positions": ("sinusoidal", "rotary"), "norm": ("layer",), "share_embeddings": ("all",)}
        wrong = [f"{name} {model.get(name)}" for name, values in known.items() if model.get(name) not in values]
        if wrong:
            has = "sinusoids or rotary positions, LayerNorm and tied embeddings"
            raise ValueError(f"the peers' copies have {has}, not {', '.join(wrong)}")
        return cls(
            model["layers"],
            model["decoder_layers"] or model["layers"],
            model["d_model"],
            model["d_ff"],
            model["heads"],
            model["dropout"],
            model["norm_position"] == "pre",
            model["positions"] == "rotary",
        )


def weights_file(directory: Path) -> Path:
    """The checkpoint of the best validation BLEU; the newest where none was validated."""
    found = [json.loads(path.read_text()) for path in (directory / "checkpoints").glob("[!.]*/checkpoint.json")]
    validated = [checkpoint for checkpoint in found if checkpoint["bleu"] is not None]
    best = max(validated or found, key=lambda checkpoint: (checkpoint["bleu"] or 0.0, -(checkpoint["perplexity"] or 0)))
    return directory / "checkpoints" / best["name"] / "model.safetensors"
