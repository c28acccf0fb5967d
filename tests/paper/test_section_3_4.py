"""Section 3.4: embeddings times sqrt(d_model), shared with the pre-softmax linear map."""

import math
from typing import Any

import torch

from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.model.positions import sinusoids

CONFIG = TransformerConfig(layers=1, d_model=14, d_ff=23, heads=2, dropout=0.0)


def _model() -> Any:
    torch.manual_seed(0)
    return build_model(CONFIG, 37, 37)


def test_one_matrix_serves_both_embeddings_and_the_projection() -> None:
    model = _model()
    E = model.source_input.tokens.weight
    assert E is model.target_input.tokens.weight is model.projection.weight
    assert sum(p.shape == (37, 14) for p in model.parameters()) == 1
    hidden = torch.randn(5, 14)
    torch.testing.assert_close(model.project(hidden), hidden @ E.T)


def test_embeddings_are_multiplied_by_sqrt_d_model_and_the_projection_is_not() -> None:
    model = _model()
    ids = torch.tensor([[5, 7, 36]])
    expected = model.projection.weight[ids] * math.sqrt(14) + sinusoids(3, 14)
    torch.testing.assert_close(model.source_input(ids), expected)
    torch.testing.assert_close(model.target_input(ids), expected)


def test_gradients_of_the_three_uses_add_up() -> None:
    model = _model()
    source, target = torch.tensor([[5, 7]]), torch.tensor([[9, 11, 13]])
    mask = torch.ones_like
    hidden = model(source, mask(source).bool(), target, mask(target).bool())
    model.project(hidden)[..., 20].sum().backward()
    rows = model.projection.weight.grad.abs().sum(-1).nonzero().flatten().tolist()
    assert rows == [5, 7, 9, 11, 13, 20]


def test_logits_start_at_order_one() -> None:
    """LayerNorm gives sqrt(d_model) of norm, the shared matrix's rows have norm one."""
    torch.manual_seed(0)
    model: Any = build_model(TransformerConfig(layers=1, d_model=256, d_ff=64, heads=4), 1009, 1009)
    ids = torch.arange(4, 1000).view(1, -1)
    mask = torch.ones_like(ids, dtype=torch.bool)
    logits = model.project(model(ids, mask, ids, mask))
    assert 0.5 < logits.std() < 2
