"""The loss as a module: the gradient of a weight that embeds tokens and projects states, and what it costs."""

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from heedful.data.batches import Batch, collate_pairs
from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.model.seq2seq import Seq2Seq
from heedful.training.loss import label_smoothed_cross_entropy
from heedful.training.objective import Objective

VOCAB, WIDTH = 5000, 32
TABLE = VOCAB * WIDTH * 4
"""Bytes."""
CONFIGS = [
    TransformerConfig(layers=1, d_model=WIDTH, d_ff=32, heads=2, dropout=0.0),
    TransformerConfig(layers=1, d_model=WIDTH, d_ff=32, heads=2, dropout=0.0, share_embeddings="target"),
    RecurrentConfig(d_model=WIDTH, dropout=0.0, share_embeddings="all"),
]
NAMES = ["all", "target", "rnn"]


@pytest.fixture
def batch() -> Batch:
    return collate_pairs([[7, 8, 9, 9], [7, 10]], [[8, 9], [11, 9, 9]])


def _model(config: TransformerConfig | RecurrentConfig) -> Seq2Seq[Any, Any]:
    torch.manual_seed(0)
    return build_model(config, VOCAB, VOCAB)


@pytest.mark.parametrize("config", CONFIGS, ids=NAMES)
def test_rows_looked_up_add_to_the_projection_s_gradient(
    config: TransformerConfig | RecurrentConfig, batch: Batch
) -> None:
    model, places = _model(config), batch.target_places
    loss, _ = Objective(model, label_smoothing=0.1)(batch)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    model = _model(config)
    states = model(batch.source, batch.source_mask, batch.target_input, batch.target_mask).flatten(0, 1)[places]
    target = batch.target_output.flatten()[places]
    label_smoothed_cross_entropy(states @ model.projection.weight.T, target, 0.1)[0].backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(("config", "tables"), list(zip(CONFIGS, (0, 1, 0), strict=True)), ids=NAMES)
def test_lookups_in_the_projection_make_no_table_of_their_own(
    config: TransformerConfig | RecurrentConfig, tables: int, batch: Batch
) -> None:
    """What the loss leaves is a table already; a lookup's would be written, added and thrown away."""
    loss, _ = Objective(_model(config), label_smoothing=0.1)(batch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        loss.backward()
    assert sum(event.self_cpu_memory_usage >= TABLE for event in profiled.events()) == tables
