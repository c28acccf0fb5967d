"""Section 5.4: residual dropout and its places, label smoothing and its loss."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from heedful.checkpoint import load_config
from heedful.data.batches import collate_pairs
from heedful.data.tokenizer import Tokenizers
from heedful.model.build import build_model
from heedful.model.config import ModelConfig, TransformerConfig
from heedful.model.dropout import Dropout
from heedful.model.positions import sinusoids
from heedful.model.stacks import Teacher
from heedful.recipes.named import recipe
from heedful.recipes.run import new_model
from heedful.training.loss import label_smoothed_cross_entropy, projected_cross_entropy
from tests.paper.conftest import BaseRun
from tests.small import SMALL

VOCAB = 37
ENCODER, DECODER = ("self_attention", "feed_forward"), ("self_attention", "cross_attention", "feed_forward")
CONFIG = TransformerConfig(layers=2, decoder_layers=3, d_model=14, d_ff=23, heads=2, dropout=0.1)


def _model(**changes: Any) -> Any:
    torch.manual_seed(0)
    return build_model(replace(CONFIG, **changes), VOCAB, VOCAB)


def test_dropout_stands_on_every_sublayer_s_output_and_on_both_sums_of_embedding_and_position() -> None:
    """And nowhere else: not on attention weights, not inside the feed-forward network."""
    places = {
        name for name, module in _model().named_modules() if isinstance(module, Dropout | nn.Dropout) and module.p > 0
    }
    assert places == {
        "source_input.dropout",
        "target_input.dropout",
        *(f"encoder.layers.{i}.{part}_residual.dropout" for i in range(2) for part in ENCODER),
        *(f"decoder.layers.{i}.{part}_residual.dropout" for i in range(3) for part in DECODER),
    }
    assert {m.p for m in _model().modules() if isinstance(m, Dropout)} - {0.0} == {0.1}
    model, mask = _model(), torch.ones(2, 5, dtype=torch.bool)
    for name in places:
        model.get_submodule(name).p = 0.0
    batch = torch.randint(4, VOCAB, (2, 5)), mask, torch.randint(4, VOCAB, (2, 5)), mask
    torch.testing.assert_close(model.train()(*batch), model.eval()(*batch), atol=1e-5, rtol=0)
    assert [recipe(name).values()["dropout"] for name in ("base", "big", "big-en-fr")] == [0.1, 0.3, 0.1]


def test_the_sum_of_embedding_and_position_is_what_drops() -> None:
    """Not the embedding alone: a dropped component is zero, its position's part too; the others are scaled."""
    model = _model(dropout=0.5)
    tokens = torch.randint(4, VOCAB, (5, 101))
    dropped = model.source_input(tokens)
    whole = model.projection.weight[tokens] * math.sqrt(14) + sinusoids(101, 14)
    kept = dropped != 0
    assert 0.45 < kept.float().mean() < 0.55
    torch.testing.assert_close(dropped[kept], 2 * whole[kept])


def test_the_decoder_s_sublayers_add_nothing_where_all_is_dropped() -> None:
    """Before the sum and the norm, so the stream itself goes on."""
    model = _model(norm="none")
    for name, module in model.decoder.named_modules():
        if isinstance(module, Dropout) and name.endswith("residual.dropout"):
            module.p = 1 - 1e-9
    x, memory = torch.randn(2, 5, 14), torch.randn(2, 7, 14)
    teacher = Teacher(memory, torch.ones(2, 5, dtype=torch.bool), None, None, None)
    hidden, _, _ = model.decoder(x, teacher)
    assert (hidden == x).float().mean() > 0.9  # of the nearly all that were dropped
    assert (model.decoder.eval()(x, teacher)[0] != x).all()


def test_label_smoothing_is_the_cross_entropy_to_a_smoothed_target() -> None:
    """ε_ls = 0.1: 0.9 on the right class, 0.1 spread over all V; by the definition of cross-entropy."""
    torch.manual_seed(0)
    logits, target = torch.randn(11, VOCAB, dtype=torch.float64), torch.randint(VOCAB, (11,))
    q = torch.full((11, VOCAB), 0.1 / VOCAB, dtype=torch.float64)
    q[torch.arange(11), target] += 0.9
    expected = -(q * (logits.exp() / logits.exp().sum(1, keepdim=True)).log()).sum()
    smoothed, likelihood = label_smoothed_cross_entropy(logits, target, recipe("base").training.label_smoothing)
    assert smoothed.item() == pytest.approx(expected.item(), rel=1e-6)
    plain = -logits.log_softmax(1)[torch.arange(11), target].sum()
    assert likelihood.item() == pytest.approx(plain.item(), rel=1e-6)  # for perplexity, which is not smoothed


def test_training_minimises_the_smoothed_loss(base_run: BaseRun, tmp_path: Path) -> None:
    """Its first update's loss, of all the text at once and without dropout, by the definition."""
    once = {"dropout": 0.0, "batch_tokens": 4000, "max_steps": 1}
    [record] = base_run.again(tmp_path, **once).updates()
    config: ModelConfig = TypeAdapter(ModelConfig).validate_python(load_config(tmp_path)["model"])
    tokenizers = Tokenizers.load(tmp_path)
    torch.manual_seed(SMALL["seed"])
    model = new_model(config, tokenizers, None)
    pairs = zip(*(path.read_text().splitlines() for path in base_run.paths), strict=True)
    encoded = [(tokenizers.source.encode(source), tokenizers.target.encode(target)) for source, target in pairs]
    batch = collate_pairs(*zip(*encoded, strict=True))
    with torch.no_grad():
        hidden = model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)[batch.target_mask]
        log_p, target = model.project(hidden).log_softmax(-1), batch.target_output[batch.target_mask]
    likelihood = log_p[torch.arange(len(target)), target]
    assert record["loss"] == pytest.approx(-float((0.9 * likelihood + 0.1 * log_p.mean(-1)).mean()), rel=1e-5)
    assert record["loss"] != pytest.approx(-float(likelihood.mean()), rel=1e-3)


def test_its_gradient_is_probability_minus_smoothed_target() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(11, 7, requires_grad=True)
    projection = torch.randn(VOCAB, 7)
    target = torch.randint(VOCAB, (11,))
    smoothed, _ = projected_cross_entropy(hidden, projection, target, 0.1)
    (gradient,) = torch.autograd.grad(smoothed, hidden)
    q = torch.full((11, VOCAB), 0.1 / VOCAB)
    q[torch.arange(11), target] += 0.9
    torch.testing.assert_close(gradient, ((hidden @ projection.T).softmax(-1) - q) @ projection)


def test_the_least_loss_is_the_entropy_of_the_smoothed_target_so_the_model_learns_to_be_unsure() -> None:
    """ "This hurts perplexity": the best distribution has only 1 - ε + ε / V on the right class."""
    right = 0.9 + 0.1 / VOCAB
    q = torch.full((1, VOCAB), 0.1 / VOCAB)
    q[0, 5] = right
    smoothed, likelihood = label_smoothed_cross_entropy(q.log(), torch.tensor([5]), 0.1)
    entropy = -float((q * q.log()).sum())
    assert smoothed.item() == pytest.approx(entropy, rel=1e-5)
    assert math.exp(likelihood.item()) == pytest.approx(1 / right, rel=1e-5)
    sharper = torch.zeros(1, VOCAB)
    sharper[0, 5] = 20.0
    worse, likelier = label_smoothed_cross_entropy(sharper, torch.tensor([5]), 0.1)
    assert worse > smoothed
    assert likelier < likelihood
