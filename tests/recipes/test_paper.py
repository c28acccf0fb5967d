"""The paper's recipes to the letter, and what `heedful recipes base` says of each value."""

from typing import Any

import pytest
import yaml

from heedful.cli.main import main
from heedful.recipes.named import recipe
from heedful.recipes.paper import RECIPES, departures, section

COMMON: dict[str, Any] = {
    # 3: N, post-norm, tied embeddings, sinusoids; 5.4: no dropout but P_drop
    "layers": 6, "decoder_layers": None, "norm": "layer", "norm_position": "post", "skip": True,
    "positions": "sinusoidal", "share_embeddings": "all", "attention_dropout": 0.0, "d_k": None, "d_v": None,
    # 5.1
    "tokenizer": "bpe", "vocabulary": "joint", "batch_tokens": 25_000, "accumulate": 1, "subword_sampling": 0.0,
    # 5.3, 5.4
    "optimizer": "adam", "beta1": 0.9, "beta2": 0.98, "adam_epsilon": 1e-9, "schedule": "paper", "lr": 1.0,
    "warmup_steps": 4000, "label_smoothing": 0.1, "weight_decay": 0.0, "clip_norm": 0.0, "ema_decay": 0.0,
    # 6.1
    "beam_size": 4, "length_penalty": 0.6, "length_penalty_kind": "paper", "max_extra_tokens": 50,
}  # fmt: skip
BASE: dict[str, Any] = {"d_model": 512, "d_ff": 2048, "heads": 8, "dropout": 0.1, "max_steps": 100_000}
BIG: dict[str, Any] = {"d_model": 1024, "d_ff": 4096, "heads": 16, "dropout": 0.3, "max_steps": 300_000}
PAPER = {
    "base": COMMON | BASE | {"vocab_size": 37_000, "average_last": 5},
    "big": COMMON | BIG | {"vocab_size": 37_000, "average_last": 20},
    "base-en-fr": COMMON | BASE | {"vocab_size": 32_000, "average_last": 5},
    "big-en-fr": COMMON | BIG | {"vocab_size": 32_000, "average_last": 20, "dropout": 0.1},
}


@pytest.mark.parametrize("name", PAPER)
def test_every_value_is_the_paper_s(name: str) -> None:
    values = recipe(name).values()
    assert {field: values[field] for field in PAPER[name]} == PAPER[name]
    assert values["keep_last"] >= values["average_last"]


@pytest.mark.parametrize("name", PAPER)
def test_checkpoints_are_ten_minutes_of_the_paper_s_time_apart(name: str) -> None:
    seconds_a_step = 0.4 if name.startswith("base") else 1.0  # Section 5.2
    assert recipe(name).training.validate_every * seconds_a_step == 600


@pytest.mark.parametrize("name", PAPER)
def test_each_value_prints_with_its_section_and_the_rest_with_reasons(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recipes", name]) == 0
    printed = capsys.readouterr().out
    values = {key.replace("-", "_"): value for key, value in yaml.safe_load(printed).items()}
    assert values.keys() - {"recipe"} == recipe(name).values().keys()
    lines = {line.split(":")[0].replace("-", "_"): line for line in printed.split("\n") if line and line[0] != "#"}
    for field in PAPER[name].keys() - {"attention_dropout", "accumulate", "subword_sampling", "weight_decay"}:
        if field in ("clip_norm", "ema_decay"):
            continue
        assert "# [Section " in lines[field], field
    assert "[not in the paper]" in lines["clip_norm"]
    for what, reason in departures(recipe(name)).items():
        assert f"# {what.replace('_', '-')}: {reason}" in printed
    assert "word pieces" in departures(recipe("base-en-fr"))["tokenizer"]


def test_sections_name_fields_that_exist() -> None:
    from heedful.recipes import paper

    known = RECIPES[0].values().keys()
    assert paper._SECTIONS.keys() <= known
    assert paper._DEPARTURES.keys() <= known
    assert section(recipe("big-en-fr"), "dropout") == "Section 6.1"
    assert section(recipe("big"), "dropout") == "Section 5.4, Table 3"
    assert section(recipe("base"), "average_last") == "Section 6.1"
    assert section(recipe("table3-base"), "average_last") == "Section 6.2"


def test_other_recipes_print_as_they_did(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert "[" not in printed
    assert "departures" not in printed


def test_the_paper_s_parser() -> None:
    """Section 6.3: what it states, and the rest as in base, but for what trees make necessary or it leaves open."""
    values = recipe("parse-paper").values()
    stated = {"layers": 4, "d_model": 1024, "beam_size": 21, "length_penalty": 0.3, "max_extra_tokens": 300}
    assert {field: values[field] for field in stated} == stated
    assert values["vocab_size"] == 16_000
    assert all(section(recipe("parse-paper"), field) == "Section 6.3" for field in (*stated, "vocab_size"))
    assert section(recipe("base"), "layers") == "Section 3.1"
    own = {"dropout", "attention_dropout", "share_embeddings", "vocabulary", "max_length", "linearisation", "leaves"}
    base = recipe("base").values()
    for field in base.keys() - own - stated.keys() - {"vocab_size"}:
        assert values[field] == base[field], field
    reasons = departures(recipe("parse-paper"))
    assert {"heads", "d_k", "d_ff", "linearisation"} <= reasons.keys()
    assert own - {"max_length"} <= reasons.keys()


def test_the_paper_s_parser_prints_with_its_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "parse-paper"]) == 0
    printed = capsys.readouterr().out
    assert "beam-size: 21" in printed
    assert "# [Section 6.3]" in printed
    assert "# d-ff: not stated" in printed
    assert "# linearisation: not stated" in printed
