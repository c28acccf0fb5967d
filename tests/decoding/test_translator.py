"""Text in, text out, with real models of every kind, untrained."""

import logging
import tracemalloc
from collections.abc import Callable
from itertools import count, islice

import numpy as np
import pytest
import torch

from heedful.data.batches import collate_pairs
from heedful.data.tokenizer import BOS, EOS, PAD, UNK
from heedful.decoding.translation import Translation
from heedful.decoding.translator import Translator
from heedful.errors import HeedfulError

from .conftest import LINES, random_model

Make = Callable[..., Translator]


def differences(first: list[Translation], second: list[Translation]) -> int:
    """How many outputs differ; each of them must be a tie."""
    ties = 0
    for one, two in zip(first, second, strict=True):
        assert one.source == two.source
        tie = one.text != two.text
        assert one.score == pytest.approx(two.score, rel=0.0 if tie else 1e-5, abs=1e-5)
        ties += tie
    return ties


@pytest.mark.parametrize("beam_size", [1, 4])
def test_batch_size_and_order_change_no_output(translator: Translator, beam_size: int) -> None:
    lines = [*LINES, *LINES[:3], f"{LINES[0]} {LINES[5]}"]
    alone = translator.translate(lines, batch_tokens=1, beam_size=beam_size)
    for batch_tokens in (40, 100_000):
        together = translator.translate(lines, batch_tokens=batch_tokens, beam_size=beam_size)
        assert differences(alone, together) == 0
    backwards = translator.translate(lines[::-1], beam_size=beam_size)[::-1]
    assert differences(alone, backwards) == 0
    assert [each.source for each in alone] == lines


def test_a_hypothesis_is_scored_as_it_was_found(translator: Translator) -> None:
    for found in translator.translate(LINES, n_best=4):
        for each in found.hypotheses:
            assert each.tokens[-1] == "</s>"
            source = translator.tokenizers.source.encode(found.source)
            batch = collate_pairs([source], [each.token_ids[:-1]])
            [model] = translator.models
            with torch.no_grad():
                hidden = model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
                log_probs = model.project(hidden).log_softmax(-1).gather(2, batch.target_output.unsqueeze(2))
            n = len(each.tokens)
            assert each.log_prob == pytest.approx(float(log_probs.sum()), abs=1e-5 * n)
            assert each.token_log_probs == pytest.approx(log_probs.flatten().tolist(), abs=1e-5)
            assert each.score == pytest.approx(each.log_prob / ((5 + n) / 6) ** 0.6, rel=1e-6)


def test_scoring_agrees_with_forcing_in_any_batch(translator: Translator) -> None:
    pairs = [(source, target) for source in LINES for target in LINES[:3]]
    scores = translator.score_pairs(pairs)
    again = translator.score_pairs(pairs, batch_tokens=1)
    assert scores.log_probs == pytest.approx(again.log_probs, abs=1e-4)
    assert scores.tokens == again.tokens
    for (source, target), log_prob, tokens in zip(pairs, scores.log_probs, scores.tokens, strict=True):
        forced = translator.force(source, target)
        assert forced.text == target
        assert forced.best.log_prob == pytest.approx(log_prob, abs=1e-4)
        assert len(forced.tokens) == tokens
        assert forced.tokens[-1] == "</s>"
        assert forced.score == pytest.approx(log_prob / ((5 + tokens) / 6) ** 0.6, abs=1e-4)


def test_special_symbols_are_never_emitted(translator: Translator) -> None:
    for model in translator.models:
        with torch.no_grad():
            weight = model.projection.weight  # type: ignore[union-attr]
            kept = weight.clone()
            weight[[PAD, UNK, BOS]] *= 50
    sampled = translator.translate(LINES, sample=True, n_best=5, temperature=3.0)
    for found in translator.translate(LINES, n_best=4) + sampled:
        for each in found.hypotheses:
            assert not {PAD, UNK, BOS} & set(each.token_ids)
            assert each.token_ids.index(EOS) == len(each.token_ids) - 1
    with torch.no_grad():
        weight.copy_(kept)


def test_blank_lines_stay_blank(translator: Translator) -> None:
    lines = ["", "x", " \t\u2003", "A dog.", ""]
    found = translator.translate(lines)
    assert [each.source for each in found] == lines
    for blank in (found[0], found[2], found[4]):
        assert (blank.text, blank.score, blank.tokens, blank.source_tokens) == ("", 0.0, [], [])
        assert blank.attention is None
        assert blank.alignment == []
    assert found[1].tokens
    assert found[3].tokens
    assert translator.translate([]) == []
    assert [each.text for each in translator.translate(["", " "])] == ["", ""]


def test_a_no_break_space_that_no_piece_has_is_read_as_a_plain_one(translator: Translator) -> None:
    plain, marked = translator.translate(["ab cd", "ab\u00a0cd\u200b"])
    assert marked.source == "ab\u00a0cd\u200b"
    assert (marked.text, marked.source_tokens, marked.score) == (plain.text, plain.source_tokens, plain.score)


def test_a_lone_text_is_one_line(make_translator: Make) -> None:
    translator = make_translator("rnn")
    assert [each.source for each in translator.translate("A dog.")] == ["A dog."]


def test_outputs_are_at_most_so_many_tokens_longer(make_translator: Make) -> None:
    translator = make_translator("transformer")
    for extra in (1, 7):
        for found in translator.translate(LINES, max_extra_tokens=extra, n_best=4):
            assert all(len(each.tokens) <= len(found.source_tokens) + extra for each in found.hypotheses)
    [long] = translator.translate(["x"], max_extra_tokens=60, beam_size=1)
    assert len(long.tokens) == len(long.source_tokens) + 60


def test_prefixes(translator: Translator) -> None:
    forced = ["Ein ", "", "그 개", "zzz " * 5, "A", "B", ""]
    for found, prefix in zip(translator.translate(LINES, prefixes=forced, n_best=3), forced, strict=True):
        assert all(each.text.startswith(prefix) for each in found.hypotheses)
    assert all(each.text.startswith("Eine Frau") for each in translator.translate(LINES, prefixes="Eine Frau"))
    with pytest.raises(HeedfulError, match="7 texts have 2 prefixes"):
        translator.translate(LINES, prefixes=["a", "b"])


def test_sampling_depends_on_seed_and_line_alone(make_translator: Make) -> None:
    translator = make_translator("transformer")
    options = {"sample": True, "n_best": 3, "temperature": 1.3, "top_k": 50, "top_p": 0.9}
    lines = LINES[:2] * 3
    first = translator.translate(lines, **options)
    assert differences(first, translator.translate(lines, batch_tokens=1, **options)) == 0
    assert differences(first, list(translator.translate_stream(lines, window=2, **options))) == 0
    assert [each.text for each in first] != [each.text for each in translator.translate(lines, seed=2, **options)]
    assert len({each.text for each in first[::2]}) > 1, "the same line again is another draw"
    for found in first:
        scores = [each.score for each in found.hypotheses]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_attention_is_that_of_the_forced_pass(translator: Translator) -> None:
    [found] = translator.translate(LINES[:1])
    source, target = len(found.source_tokens), len(found.tokens)
    [model] = translator.models
    batch = collate_pairs([found.source_ids[:-1]], [found.best.token_ids[:-1]])
    with torch.no_grad():
        record = model.attention(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
    shapes = {"encoder": (source, source), "decoder": (target, target), "cross": (target, source)}
    if record.cross is None:
        assert found.attention is None
        with pytest.raises(HeedfulError, match="no attention"):
            _ = found.alignment
        return
    assert found.attention is not None
    assert set(found.attention) == set(shapes)
    for kind, shape in shapes.items():
        recorded = getattr(record, kind)
        layers = found.attention[kind]
        if recorded is None:
            assert layers is None
            continue
        assert layers is not None
        for layer, expected in zip(layers, recorded, strict=True):
            assert layer.dtype == np.float32
            assert layer.shape[1:] == shape
            np.testing.assert_array_equal(layer, expected[0].numpy())
            np.testing.assert_allclose(layer.sum(-1), 1, atol=1e-5)
    assert found.attention is found.attention, "computed once"


def test_an_ensembles_attention_is_the_first_models(make_translator: Make) -> None:
    ensemble = make_translator("prenorm", "rnn")
    alone = Translator(ensemble.models[:1], ensemble.tokenizers, ensemble.search)
    forced = [each.force(LINES[0], LINES[1]).attention for each in (ensemble, alone)]
    assert forced[0] is not None
    np.testing.assert_array_equal(forced[0]["cross"], forced[1]["cross"])  # type: ignore[index, arg-type]


def test_long_lines_are_cut_with_a_notice(
    make_translator: Make, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    translator = make_translator("rnn", max_tokens=23)
    monkeypatch.setattr(logging.getLogger("heedful"), "propagate", True)
    lines = ["x", "A dog " * 50, "", "y" * 10_000, "z"]
    whole = translator.translate(lines)
    assert [len(each.source_tokens) for each in whole] == [
        len(whole[0].source_tokens),
        23,
        0,
        23,
        len(whole[4].source_tokens),
    ]
    assert [record.getMessage() for record in caplog.records] == [
        f"line {number} has more than 22 tokens; only the first 22 are read" for number in (2, 4)
    ]
    caplog.clear()
    assert differences(whole, list(translator.translate_stream(lines, window=2))) == 0
    assert [record.getMessage().split()[1] for record in caplog.records] == ["2", "4"]


def test_a_line_as_long_as_may_be_is_not_cut(make_translator: Make, caplog: pytest.LogCaptureFixture) -> None:
    translator = make_translator("rnn")
    tokens = translator.tokenizers.source.encode(LINES[1])
    exact = Translator(translator.models, translator.tokenizers, translator.search, max_tokens=len(tokens) + 1)
    [found] = exact.translate(LINES[1:2])
    assert found.source_ids == [*tokens, EOS]
    assert not caplog.records


def test_a_huge_line_needs_little_memory(make_translator: Make) -> None:
    translator = make_translator("rnn", max_tokens=23)
    huge = "A dog runs. " * 1_000_000
    tracemalloc.start()
    [found] = translator.translate([huge], beam_size=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.source == huge
    assert peak < 1_000_000, "not even a copy of the line"


def test_a_stream_is_answered_in_order_and_read_no_further_than_its_window(make_translator: Make) -> None:
    translator = make_translator("rnn")
    read = []

    def endless():  # type: ignore[no-untyped-def]
        for number in count():
            read.append(number)
            yield "" if number % 3 == 0 else f"line {number}"

    answers = list(islice(translator.translate_stream(endless(), window=5, beam_size=1), 7))
    assert [each.source for each in answers] == ["", "line 1", "line 2", "", "line 4", "line 5", ""]
    assert len(read) == 10
    read.clear()
    next(iter(translator.translate_stream(endless(), window=1, beam_size=1)))
    assert len(read) == 1


def test_a_stream_is_the_same_as_a_list(make_translator: Make) -> None:
    translator = make_translator("transformer")
    listed = translator.translate(LINES, prefixes="A", n_best=2)
    streamed = list(translator.translate_stream(iter(LINES), window=3, prefix="A", n_best=2))
    assert differences(listed, streamed) == 0


def test_settings_come_from_the_translator_unless_a_call_gives_them(make_translator: Make) -> None:
    translator = make_translator("transformer")
    settings = translator.search_with(beam_size="2", length_penalty_kind=None)
    assert (settings.beam_size, settings.length_penalty_kind, settings.max_extra_tokens) == (2, "paper", 3)
    with pytest.raises(HeedfulError, match="nearest is beam-size"):
        translator.translate(LINES, beam=3)
    with pytest.raises(HeedfulError, match="n-best"):
        next(translator.translate_stream(LINES, n_best=5, beam_size=3))


def test_a_model_in_training_is_refused(make_translator: Make) -> None:
    translator = make_translator("rnn")
    model = random_model("rnn", translator.tokenizers).train()
    with pytest.raises(ValueError, match="eval"):
        Translator([model], translator.tokenizers)


def test_a_notebook_shows_what_draw_makes_of_it(make_translator: Make) -> None:
    translator = make_translator("transformer")
    [plain] = translator.translate(LINES[:1], prefixes="<b>&")
    assert plain._repr_html_().startswith("<p>&lt;b&gt;&amp;")
    drawing = make_translator("transformer", draw=lambda translation: f"drawn: {translation.source}")
    assert drawing.translate(LINES[:1])[0]._repr_html_() == f"drawn: {LINES[0]}"
    assert LINES[0] in repr(plain)
    assert len(repr(plain)) < 5000
