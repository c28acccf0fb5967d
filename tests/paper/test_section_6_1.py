"""Section 6.1: the mean of the last checkpoints, a beam of 4, α = 0.6, at most 50 tokens more than the input."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import heedful
from heedful import checkpoint
from heedful.checkpoint import Checkpoint
from heedful.data.config import DataConfig
from heedful.data.tokenizer import EOS, Tokenizer, Tokenizers
from heedful.decoding.native.choice import Engines
from heedful.decoding.penalty import PENALTIES
from heedful.decoding.translator import Translator
from heedful.model.build import build_model
from heedful.model.config import TransformerConfig
from heedful.recipes.named import recipe
from tests.paper.conftest import BaseRun


@pytest.mark.parametrize(("name", "count"), [("base", 5), ("big", 20)])
def test_the_last_5_and_20_checkpoints_are_averaged(name: str, count: int, tmp_path: Path) -> None:
    last = recipe(name).training.average_last
    assert last == count
    torch.manual_seed(0)
    (tmp_path / "config.json").write_text(json.dumps({"model": {}}))
    weights = torch.randn(count + 3, 7, dtype=torch.float64).float()
    for step, weight in enumerate(weights, start=1):
        checkpoint.save(tmp_path, Checkpoint(f"step-{step}", step, 0, bleu=100.0 - step), {"w": weight})
    checkpoint.average(tmp_path, tmp_path / "mean", last=last)
    found = checkpoint.load_tensors(tmp_path / "mean", checkpoint.best(tmp_path / "mean"))["w"]
    torch.testing.assert_close(found, weights[3:].mean(0))


def test_a_training_ends_with_the_mean_of_its_last_checkpoints(base_run: BaseRun) -> None:
    *_, before, last = checkpoint.trained_checkpoints(base_run.directory)
    found = checkpoint.load_tensors(base_run.directory, checkpoint.best(base_run.directory))
    weights = [checkpoint.load_tensors(base_run.directory, each) for each in (before, last)]
    for name, mean in found.items():
        torch.testing.assert_close(mean, (weights[0][name] + weights[1][name]) / 2)


@pytest.mark.parametrize("native", [True, False])
def test_hypotheses_are_ranked_by_the_penalised_score(
    native: bool, base_run: BaseRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(Engines, "serving", lambda _self, _request: None)
    for found in heedful.load(base_run.directory).translate(["a dog", "a dog runs a cat sleeps"], n_best=4):
        scores = [each.score for each in found.hypotheses]
        assert scores == sorted(scores, reverse=True)
        for each in found.hypotheses:
            assert each.score == pytest.approx(each.log_prob / ((5 + len(each.tokens)) / 6) ** 0.6)


def test_the_length_penalty() -> None:
    """Wu et al. 2016, equation 14, with the paper's α: (5 + n)^0.6 / 6^0.6."""
    search = recipe("base").decoding
    assert (search.beam_size, search.length_penalty) == (4, 0.6)
    penalty = PENALTIES[search.length_penalty_kind](search.length_penalty)
    assert penalty(1) == 1.0
    assert penalty(7) == pytest.approx(12**0.6 / 6**0.6)
    assert penalty(67) == pytest.approx(1728**0.2)  # 12^(3/5)


@pytest.mark.parametrize("words", [1, 5])
def test_the_output_is_at_most_50_tokens_longer_than_the_input(words: int) -> None:
    """Of a model that never ends by itself."""
    tokenizer = Tokenizer.train(["a dog runs", "a cat sleeps"], DataConfig(vocab_size=300))
    torch.manual_seed(0)
    model: Any = build_model(TransformerConfig(layers=1, d_model=8, d_ff=11, heads=2), *[tokenizer.vocab_size] * 2)
    model.projection.weight = torch.nn.Parameter(model.projection.weight.detach().clone())
    with torch.no_grad():  # every hidden state has a component of one: EOS is the least likely token of all
        model.projection.weight[EOS] = 0
        model.projection.weight[EOS, 0] = -100.0
        model.decoder.layers[-1].feed_forward_residual.norm.bias[0] = 50.0
    translator = Translator([model.eval()], Tokenizers(tokenizer, tokenizer), recipe("base").decoding)
    [found] = translator.translate(["dog " * words])
    assert found.tokens[-1] == "</s>"
    assert len(found.tokens) == len(found.source_tokens) + 50


def test_search_ends_early_where_it_can() -> None:
    """The other way round: EOS is always the best, and nothing else is generated."""
    tokenizer = Tokenizer.train(["a dog runs", "a cat sleeps"], DataConfig(vocab_size=300))
    torch.manual_seed(0)
    model: Any = build_model(TransformerConfig(layers=1, d_model=8, d_ff=11, heads=2), *[tokenizer.vocab_size] * 2)
    model.projection.weight = torch.nn.Parameter(model.projection.weight.detach().clone())
    with torch.no_grad():
        model.projection.weight[EOS] = 0
        model.projection.weight[EOS, 0] = 100.0
        model.decoder.layers[-1].feed_forward_residual.norm.bias[0] = 50.0
    translator = Translator([model.eval()], Tokenizers(tokenizer, tokenizer), recipe("base").decoding)
    [found] = translator.translate(["dog dog dog"])
    assert found.tokens == ["</s>"]
