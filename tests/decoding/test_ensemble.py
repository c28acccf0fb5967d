"""Probabilities are averaged, in the search and in a forced pass; members' states move together."""

from collections.abc import Callable

import pytest
import torch

from heedful.decoding.ensemble import EnsembleState, ensemble_step, mean_probability, model_step
from heedful.decoding.translator import Translator

from .conftest import BOS, LINES, History, next_log_probs, step


def test_mean_probability() -> None:
    parts = [torch.tensor([[0.1, 0.9], [0.5, 0.5]]), torch.tensor([[0.3, 0.7], [1.0, 0.0]])]
    mean = mean_probability([part.log() for part in parts])
    torch.testing.assert_close(mean, torch.tensor([[0.2, 0.8], [0.75, 0.25]]).log())
    assert mean_probability([parts[0]]) is parts[0]


def test_an_ensemble_steps_every_member_with_its_own_state() -> None:
    state = EnsembleState((History.start(3, 2), History.start(3, 2)))
    stepped = ensemble_step([step, step])
    log_probs, state = stepped(torch.full((6,), BOS), state)
    torch.testing.assert_close(log_probs[2], next_log_probs(1, (BOS,)).float())
    _, state = stepped(torch.tensor([2, 3, 4, 2, 3, 4]), state)
    state = state.select(torch.tensor([0, 2])).reorder(torch.tensor([1, 1, 2, 3]))
    log_probs, _ = stepped(torch.tensor([4, 3, 2, 2]), state)
    histories = [(0, (BOS, 3, 4)), (0, (BOS, 3, 3)), (2, (BOS, 3, 2)), (2, (BOS, 4, 2))]
    expected = torch.stack([next_log_probs(*history) for history in histories]).float()
    torch.testing.assert_close(log_probs, expected)


def test_a_models_step_gives_log_probabilities(make_translator: Callable[..., Translator]) -> None:
    [model] = make_translator("transformer").models
    memory = model.encode(torch.tensor([[5, 7, 3]]), torch.ones(1, 3, dtype=torch.bool))
    log_probs, _ = model_step(model)(torch.tensor([2, 2]), model.start(memory, beam=2))
    assert log_probs.dtype == torch.float32
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(2))


def test_an_ensemble_of_one_model_twice_is_that_model(make_translator: Callable[..., Translator]) -> None:
    alone = make_translator("transformer")
    twice = Translator(alone.models * 2, alone.tokenizers, alone.search)
    for one, two in zip(alone.translate(LINES), twice.translate(LINES), strict=True):
        assert one.tokens == two.tokens
        assert one.score == pytest.approx(two.score, abs=1e-5)


def test_an_ensemble_of_unlike_models_scores_as_it_decodes(make_translator: Callable[..., Translator]) -> None:
    translator = make_translator("transformer", "rnn-attention", "prenorm")
    members = [Translator([model], translator.tokenizers, translator.search) for model in translator.models]
    for found in translator.translate(LINES):
        forced = translator.force(found.source, found.text).best
        if forced.token_ids == found.best.token_ids:
            assert forced.log_prob == pytest.approx(found.best.log_prob, abs=1e-5 * len(found.tokens))
    pairs = [(LINES[0], LINES[3])]
    separate = torch.tensor([member.force(*pairs[0]).best.token_log_probs for member in members])
    expected = separate.double().exp().mean(0).log().sum()
    assert translator.score_pairs(pairs).log_probs == pytest.approx([float(expected)], abs=1e-4)
