from dataclasses import replace
from typing import Any

import pytest
import torch

from heedful.errors import HeedfulError
from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.model.dropout import Dropout
from heedful.model.norm import BatchNorm, LayerNorm, NoNorm
from heedful.model.positions import LearnedPositions, NoPositions, SinusoidalPositions

SMALL = TransformerConfig(layers=2, d_model=14, d_ff=23, heads=2)
RECURRENT = RecurrentConfig(d_model=14)


def _count(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("decoder_layers", [None, 3])
def test_number_of_parameters_by_formula(decoder_layers) -> None:
    d, f, h, k, v, vocab = 14, 23, 2, 5, 3, 37
    config = replace(SMALL, d_k=k, d_v=v, decoder_layers=decoder_layers)
    attention = (d + 1) * h * (2 * k + v) + (h * v + 1) * d
    feed_forward = (d + 1) * f + (f + 1) * d
    norm = 2 * d
    encoder = 2 * (attention + feed_forward + 2 * norm)
    decoder = (decoder_layers or 2) * (2 * attention + feed_forward + 3 * norm)
    assert _count(build_model(config, vocab, vocab)) == encoder + decoder + vocab * d
    pre = replace(config, norm_position="pre", share_embeddings="none", positions="learned", max_positions=11)
    expected = encoder + decoder + 3 * vocab * d + 2 * norm + 2 * 11 * d
    assert _count(build_model(pre, vocab, vocab)) == expected


def test_number_of_parameters_of_a_recurrent_model_by_formula() -> None:
    d, e, vocab = 14, 11, 37
    config = replace(RECURRENT, d_embedding=e, attention="general", input_feeding=True)
    encoder = 2 * 4 * ((e + d // 2) * d // 2 + 2 * d // 2)  # two directions, four gates, two biases
    decoder = 4 * ((e + d + d) * d + 2 * d)
    assert _count(build_model(config, vocab, vocab)) == encoder + decoder + d * d + 2 * d * d + vocab * (2 * e + d)


@pytest.mark.parametrize("sharing", ["all", "target", "none"])
@pytest.mark.parametrize("config", [SMALL, RECURRENT])
def test_sharing_makes_one_matrix_of_up_to_three(config, sharing) -> None:
    model: Any = build_model(replace(config, share_embeddings=sharing), 37, 37)
    source = model.source_input.tokens if config is SMALL else model.encoder.tokens
    target = model.target_input.tokens if config is SMALL else model.decoder.tokens
    assert (source.weight is target.weight) == (sharing == "all")
    assert (target.weight is model.projection.weight) == (sharing != "none")


@pytest.mark.parametrize("kind", ["softmax", "raw"])
def test_weights_of_attention_are_what_is_asked_for(kind) -> None:
    torch.manual_seed(5)
    model = build_model(replace(RECURRENT, attention="dot", attention_weights=kind), 37, 37).eval()
    source, target = torch.randint(4, 37, (3, 5)), torch.randint(4, 37, (3, 2))
    cross = model.attention(source, torch.ones_like(source).bool(), target, torch.ones_like(target).bool()).cross
    assert cross is not None
    [weights] = cross
    assert torch.allclose(weights.sum(-1), torch.ones(3, 1, 2)) == (kind == "softmax")
    assert bool((weights < 0).any()) == (kind == "raw")


@pytest.mark.parametrize(("norm", "kind"), [("layer", LayerNorm), ("batch", BatchNorm), ("none", NoNorm)])
@pytest.mark.parametrize("position", ["post", "pre"])
def test_norm_is_one_kind_everywhere(norm, kind, position) -> None:
    model = build_model(replace(SMALL, norm=norm, norm_position=position), 37, 37)
    norms = [m for m in model.modules() if isinstance(m, LayerNorm | BatchNorm | NoNorm)]
    residual = [m for m in norms if isinstance(m, kind)]
    assert len(norms) == 2 * 2 + 2 * 3 + 2
    assert len(residual) == (len(norms) if position == "pre" or norm == "none" else 10)


@pytest.mark.parametrize(
    ("positions", "kind"),
    [
        ("sinusoidal", SinusoidalPositions),
        ("learned", LearnedPositions),
        ("rotary", NoPositions),
        ("none", NoPositions),
    ],
)
def test_positions_are_chosen_by_name(positions, kind) -> None:
    model: Any = build_model(replace(SMALL, positions=positions, d_k=6), 37, 37)
    assert type(model.source_input.positions) is type(model.target_input.positions) is kind
    rotary = {
        layer.self_attention.rotary is not None for side in (model.encoder, model.decoder) for layer in side.layers
    }
    assert rotary == {positions == "rotary"}
    assert all(layer.cross_attention.rotary is None for layer in model.decoder.layers)


def test_rotary_positions_need_an_even_d_k() -> None:
    with pytest.raises(HeedfulError, match=r"d_k \(7\) is odd"):
        build_model(replace(SMALL, positions="rotary", d_k=7), 37, 37)


@pytest.mark.parametrize("lacking", [{"positions": "sinusoidal"}, {"deterministic_attention": "none"}])
def test_queries_over_the_source_are_turned_only_where_their_place_is_known(lacking) -> None:
    parser = {"positions": "rotary", "d_k": 6, "deterministic_attention": "stack", "rotary_cross_attention": True}
    with pytest.raises(HeedfulError, match="only positions rotary and deterministic attention"):
        build_model(replace(SMALL, **parser | lacking), 37, 37)


def test_dropout_stands_where_section_5_4_puts_it() -> None:
    model = build_model(replace(SMALL, dropout=0.25, attention_dropout=0.125), 37, 37)
    places = {name: m.p for name, m in model.named_modules() if isinstance(m, Dropout)}
    sums = {name: p for name, p in places.items() if name.endswith("_input.dropout")}
    residual = {name: p for name, p in places.items() if name.endswith("_residual.dropout")}
    attention = {name: p for name, p in places.items() if name.endswith("attention.dropout")}
    assert len(sums) == 2
    assert len(residual) == 2 * 2 + 2 * 3
    assert len(attention) == 2 + 2 * 2
    assert {*sums.values(), *residual.values()} == {0.25}
    assert set(attention.values()) == {0.125}
    assert len(places) == len(sums) + len(residual) + len(attention)


@pytest.mark.parametrize(
    ("config", "vocabularies", "words"),
    [
        (replace(SMALL, heads=3), (37, 37), "heads (3) does not divide d_model (14)"),
        (SMALL, (37, 41), "vocabularies differ in size (37 and 41)"),
        (replace(RECURRENT, d_model=13), (37, 37), "d_model (13) is odd"),
        (replace(RECURRENT, d_embedding=7, share_embeddings="target"), (37, 37), "d_embedding (7)"),
        (replace(RECURRENT, input_feeding=True), (37, 37), "input_feeding needs attention"),
    ],
)
def test_numbers_that_do_not_fit_are_refused_in_one_line(config, vocabularies, words) -> None:
    with pytest.raises(HeedfulError) as error:
        build_model(config, *vocabularies)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_free_head_sizes_need_no_divisor() -> None:
    model = build_model(replace(SMALL, heads=3, d_k=5, d_v=7), 37, 37)
    assert _count(model) > 0


def test_odd_width_is_fine_in_one_direction() -> None:
    build_model(replace(RECURRENT, d_model=13, bidirectional=False), 37, 37)


def test_seed_decides_the_weights() -> None:
    weights = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        model = build_model(SMALL, 37, 37)
        weights.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
