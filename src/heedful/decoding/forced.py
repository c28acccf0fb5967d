"""A forced pass: what models say about a target that is given, in log-probabilities and in attention."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from heedful.data.batches import Batch
from heedful.decoding.ensemble import mean_probability
from heedful.model.seq2seq import Seq2Seq

Attention = dict[str, list[NDArray[np.float32]] | None]
"""The kinds "encoder", "decoder" and "cross": one `[head, query, key]` per layer, None where the model has none."""

_POSITIONS = 2048
"""Logits that are in memory at a time."""


def token_log_probs(models: Sequence[Seq2Seq[Any, Any]], batch: Batch) -> list[list[float]]:
    """Natural-log probability of every target token, EOS included, by the mean of the models' probabilities."""
    chosen = mean_probability([_by_model(model, batch) for model in models])
    return [values.tolist() for values in torch.split(chosen, batch.target_mask.sum(1).tolist())]


def attention(model: Seq2Seq[Any, Any], batch: Batch) -> Attention | None:
    """Every attention weight of the batch's only pair, float32; None for a model that has no attention.

    Row t of "decoder" and "cross" belongs to the step that predicts target token t.
    """
    record = model.attention(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
    kinds = {"encoder": record.encoder, "decoder": record.decoder, "cross": record.cross}
    weights: Attention = {
        kind: None if layers is None else [layer[0].float().cpu().numpy() for layer in layers]
        for kind, layers in kinds.items()
    }
    return weights if any(weights.values()) else None


def _by_model(model: Seq2Seq[Any, Any], batch: Batch) -> Tensor:
    """[real target tokens], sentence by sentence."""
    hidden = model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
    losses = [
        F.cross_entropy(model.project(part).float(), tokens, reduction="none")
        for part, tokens in zip(
            torch.split(hidden[batch.target_mask], _POSITIONS),
            torch.split(batch.target_output[batch.target_mask], _POSITIONS),
            strict=True,
        )
    ]
    return -torch.cat(losses)
