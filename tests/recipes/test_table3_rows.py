"""Table 3's rows are the paper's, to the letter, and each is a recipe with a name."""

from typing import Any

import pytest

from heedful.cli.main import main
from heedful.model.config import TransformerConfig
from heedful.recipes.named import recipe, recipes, variations
from heedful.recipes.table3 import ROWS

PAPER: dict[str, tuple[Any, ...]] = {
    # N, d_model, d_ff, h, d_k, d_v, P_drop, ε_ls, thousands of steps; perplexity, BLEU, millions of parameters
    "base": (6, 512, 2048, 8, 64, 64, 0.1, 0.1, 100, 4.92, 25.8, 65),
    "A1": (6, 512, 2048, 1, 512, 512, 0.1, 0.1, 100, 5.29, 24.9, None),
    "A2": (6, 512, 2048, 4, 128, 128, 0.1, 0.1, 100, 5.00, 25.5, None),
    "A3": (6, 512, 2048, 16, 32, 32, 0.1, 0.1, 100, 4.91, 25.8, None),
    "A4": (6, 512, 2048, 32, 16, 16, 0.1, 0.1, 100, 5.01, 25.4, None),
    "B1": (6, 512, 2048, 8, 16, 64, 0.1, 0.1, 100, 5.16, 25.1, 58),
    "B2": (6, 512, 2048, 8, 32, 64, 0.1, 0.1, 100, 5.01, 25.4, 60),
    "C1": (2, 512, 2048, 8, 64, 64, 0.1, 0.1, 100, 6.11, 23.7, 36),
    "C2": (4, 512, 2048, 8, 64, 64, 0.1, 0.1, 100, 5.19, 25.3, 50),
    "C3": (8, 512, 2048, 8, 64, 64, 0.1, 0.1, 100, 4.88, 25.5, 80),
    "C4": (6, 256, 2048, 8, 32, 32, 0.1, 0.1, 100, 5.75, 24.5, 28),
    "C5": (6, 1024, 2048, 8, 128, 128, 0.1, 0.1, 100, 4.66, 26.0, 168),
    "C6": (6, 512, 1024, 8, 64, 64, 0.1, 0.1, 100, 5.12, 25.4, 53),
    "C7": (6, 512, 4096, 8, 64, 64, 0.1, 0.1, 100, 4.75, 26.2, 90),
    "D1": (6, 512, 2048, 8, 64, 64, 0.0, 0.1, 100, 5.77, 24.6, None),
    "D2": (6, 512, 2048, 8, 64, 64, 0.2, 0.1, 100, 4.95, 25.5, None),
    "D3": (6, 512, 2048, 8, 64, 64, 0.1, 0.0, 100, 4.67, 25.3, None),
    "D4": (6, 512, 2048, 8, 64, 64, 0.1, 0.2, 100, 5.47, 25.7, None),
    "E": (6, 512, 2048, 8, 64, 64, 0.1, 0.1, 100, 4.92, 25.7, None),
    "big": (6, 1024, 4096, 16, 64, 64, 0.3, 0.1, 300, 4.33, 26.4, 213),
}


def test_the_rows_are_all_of_the_paper_s() -> None:
    assert [row.name for row in ROWS] == list(PAPER)
    assert [each.name for each in variations()] == [f"table3-{name}" for name in PAPER]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_value_is_the_paper_s(row: Any) -> None:
    made = recipe(f"table3-{row.name}")
    model, training = made.model, made.training
    assert isinstance(model, TransformerConfig)
    width = model.d_model // model.heads
    assert (
        *(model.layers, model.d_model, model.d_ff, model.heads, model.d_k or width, model.d_v or width),
        *(model.dropout, training.label_smoothing, (training.max_steps or 0) / 1000),
        *(row.perplexity, row.bleu, row.millions),
    ) == PAPER[row.name]
    assert model.positions == ("learned" if row.name == "E" else "sinusoidal")
    assert training.average_last == 1, "Section 6.2: no checkpoint averaging"
    assert training.validate_beam_size == made.decoding.beam_size == 4


def test_base_and_big_differ_from_those_of_section_6_1_in_checkpoints_and_validation_alone() -> None:
    for name in ("base", "big"):
        own, row = recipe(name).values(), recipe(f"table3-{name}").values()
        assert {field for field in own if own[field] != row[field]} <= {
            *("average_last", "keep_last", "validate_beam_size")
        }


def test_the_list_has_them_in_a_part_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes"]) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert [line.split()[0] for line in first.split("\n")] == [each.name for each in recipes()]
    assert [line.split()[0] for line in second.rstrip().split("\n")[1:]] == [each.name for each in variations()]
    assert main(["recipes", "table3-B1"]) == 0
    assert "d-k: 16" in capsys.readouterr().out
