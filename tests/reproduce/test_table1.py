"""Table 1: counts, chains and paths against arithmetic, crossings against functions that are known to cross."""

import csv
import math
from itertools import product
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from heedful import kernels
from heedful.cli.main import main
from heedful.model.convolution import Convolution
from heedful.model.restricted import RestrictedAttention
from heedful.reproduce.table1.crossing import cheaper, told
from heedful.reproduce.table1.layers import ATTENTION, LAYERS, RECURRENT, Dilated, K, Layer, R, run
from heedful.reproduce.table1.measure import measure
from heedful.reproduce.table1.paths import longest_path
from heedful.reproduce.table1.products import Cost, chain, cost, work
from heedful.reproduce.table1.table import QUICK, Plan

BY_NAME = {layer.name: layer for layer in LAYERS}
CPU = torch.device("cpu")


def _costs(layer: Layer, what: str) -> Cost:
    return cost({(n, d): getattr(work(layer, n, d), what) for n in (64, 96, 128) for d in (16, 32)})


@pytest.mark.parametrize(
    ("name", "mixing", "projections"),
    [
        (ATTENTION, Cost(2, 0, 0), Cost(0, 4, 0)),  # scores and weighted sums; W^Q, W^K, W^V, W^O
        (RECURRENT, Cost(0, 4, 0), Cost(0, 4, 0)),  # four gates of the state before; of the token
        ("convolutional", Cost(0, K, 0), Cost(0, 0, 0)),
        ("convolutional, dilated", Cost(0, K, 0), Cost(0, 0, 0)),
        ("convolutional, separable", Cost(0, 0, K), Cost(0, 1, 0)),
        ("restricted self-attention", Cost(0, 0, 2 * (2 * R - 1)), Cost(0, 4, 0)),  # in blocks of R
    ],
)
def test_multiply_adds_are_the_paper_s_terms(name: str, mixing: Cost, projections: Cost) -> None:
    assert _costs(BY_NAME[name], "mixing") == mixing
    assert _costs(BY_NAME[name], "projections") == projections


@pytest.mark.parametrize("name", BY_NAME)
def test_multiply_adds_are_half_of_torch_s_flops(name: str) -> None:
    plain = torch.backends.mkldnn.flags(enabled=False, allow_tf32=None)
    with plain, kernels.plain(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run(BY_NAME[name].build(71, 24), torch.randn(1, 71, 24))
    assert 2 * work(BY_NAME[name], 71, 24).multiply_adds == counter.get_total_flops()


@pytest.mark.parametrize("n", [7, 23])
def test_products_in_turn(n: int) -> None:
    """Projections, scores, sums, output; a state after the other; one convolution, and one with a map behind it."""
    chains = {name: chain(layer, n, 16) for name, layer in BY_NAME.items()}
    assert chains == {
        ATTENTION: 4,
        RECURRENT: n,
        "convolutional": 1,
        "convolutional, dilated": 1,
        "convolutional, separable": 2,
        "restricted self-attention": 4,
    }


def _slowest(n: int, k: int) -> int:
    """Layers until the last pair of positions is connected, with dilations ..., k², k, 1 by turns, step by step."""
    turns = [k**power for power in range(n) if k**power < n][::-1] or [1]
    latest = 0
    for start in range(n):
        reached, layers = {start}, 0
        while len(reached) < n or not layers:
            apart = turns[layers % len(turns)]
            sides = range(-(k // 2), k // 2 + 1)
            reached |= {at + side * apart for at in reached for side in sides if 0 <= at + side * apart < n}
            layers += 1
        latest = max(latest, layers)
    return latest


@pytest.mark.parametrize("n", [2, 13, 29, 83])
def test_paths(n: int) -> None:
    assert longest_path(BY_NAME[ATTENTION], n) == 1
    assert longest_path(BY_NAME[RECURRENT], n) == n
    for k in (3, 5):
        contiguous = Layer("", "", "", "", lambda d, k=k: Convolution(d, k))
        assert longest_path(contiguous, n) == math.ceil((n - 1) / (k // 2))
        path = longest_path(Dilated("", "", "", "", lambda d, apart, k=k: Convolution(d, k, apart), k), n)
        assert path == _slowest(n, k)
        assert path <= 2 * math.ceil(math.log(n, k)), "O(log_k n)"
    for r in (3, 7, 8):
        restricted = Layer("", "", "", "", lambda d, r=r: RestrictedAttention(d, 2, 4, 4, r))
        assert longest_path(restricted, n) == math.ceil((n - 1) / ((r - 1) // 2))


def test_a_path_is_no_longer_than_what_is_connected() -> None:
    """With r = 2 nobody hears of what comes later, and the walk ends."""
    restricted = Layer("", "", "", "", lambda d: RestrictedAttention(d, 2, 4, 4, 2))
    assert longest_path(restricted, 11) == 10


def test_a_cost_is_found_or_there_is_none() -> None:
    sizes = list(product((3, 5, 11), (2, 7)))
    sought = Cost(3, 0, 17)
    assert cost({size: sought(*size) for size in sizes}) == sought
    assert str(sought) == "3·n²·d + 17·n·d"
    assert str(Cost(0, 1, 0)) == "n·d²"
    with pytest.raises(ValueError, match="no sum"):
        cost({(n, d): n * n * n * d for n, d in sizes})


def test_the_counts_cross_at_twice_d() -> None:
    """4·n·d² of an LSTM, 2·n²·d of attention; restricted, it is never more than all pairs."""
    d = 16
    lengths = (8, 2 * d - 1, 2 * d + 1, 80)

    def counts(name: str) -> list[int]:
        return [work(BY_NAME[name], n, d).mixing for n in lengths]

    assert cheaper(lengths, counts(ATTENTION), counts(RECURRENT)) == [(0, pytest.approx(2 * d))]
    assert cheaper(lengths, counts(ATTENTION), counts("restricted self-attention")) == []


def test_measured_crossings() -> None:
    lengths = (16, 32, 64, 128, 256)
    straight = [float(n) for n in lengths]
    [(start, end)] = cheaper(lengths, [n * n / 100 for n in lengths], straight)  # powers meet at 100 exactly
    assert (start, end) == (0, pytest.approx(100))
    [(start, end)] = cheaper(lengths, straight, [n * n / 100 for n in lengths])
    assert (start, end) == (pytest.approx(100), math.inf)
    assert cheaper(lengths, straight, [n + 1 for n in lengths]) == [(0, math.inf)]
    assert cheaper(lengths, straight, [n / 2 for n in lengths]) == []
    there_and_back = cheaper(lengths, [3, 1, 1, 3, 3], [2, 2, 2, 2, 4])
    below, above, last = math.log(2), math.log(3 / 2), math.log(4 / 3)  # the gaps on either side of each meeting
    meetings = [
        16 * 2 ** (above / (above + below)),
        64 * 2 ** (below / (below + above)),
        128 * 2 ** (above / (above + last)),
    ]
    assert [end for span in there_and_back for end in span] == pytest.approx([*meetings, math.inf])
    assert told(there_and_back) == "21 < n < 99, n > 192"
    assert told([]) == "never"
    assert told([(0, math.inf)]) == "always"
    assert told([(0, 1234.4)]) == "n < 1,234"


def test_memory_is_what_lies_between_the_passes() -> None:
    """Input and weights are the caller's. A convolution leaves its output alone, a separable one two; attention some
    vectors, and a weight for every head and pair of positions."""
    tokens, d, heads = 128, 128, 2
    vectors = tokens * d * 4

    def kept(name: str, n: int) -> int:
        found = measure(BY_NAME[name], n, d, tokens, CPU, seconds=0.01)
        assert found.seconds > 0
        return found.bytes

    assert kept("convolutional", 16) == vectors
    assert kept("convolutional, separable", 16) == 2 * vectors
    assert kept(ATTENTION, 32) - kept(ATTENTION, 16) == heads * tokens * 16 * 4
    assert kept(ATTENTION, 16) >= 5 * vectors  # queries, keys, values, contexts, output


def test_the_plan_has_lengths_that_are_walked_beside_those_cheaper() -> None:
    for plan in (Plan(), QUICK):
        assert plan.tokens % max(plan.lengths) == 0
        assert all(n % R == 0 or n < R for n in plan.lengths)


def test_the_command_writes_table_numbers_and_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "made" / "table1"
    assert main(["reproduce", "table1", "--quick", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    text = (output / "table1.md").read_text()
    for layer in LAYERS:
        assert layer.name in said
        assert f"| {layer.name} |" in text
    with (output / "table1.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(LAYERS) * len(QUICK.lengths) * len(QUICK.widths)
    for line in lines:
        n, d = int(line["n"]), int(line["d"])
        if line["layer"] == ATTENTION:
            assert int(line["multiply_adds"]) == 2 * n * n * d + 4 * n * d * d
            assert int(line["of_projections"]) == 4 * n * d * d
        if line["layer"] == RECURRENT and n in QUICK.walked:
            assert (line["chain"], line["path"]) == (str(n), str(n))
        assert float(line["seconds"]) > 0
    assert (output / "table1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "NAME"),
        (["table9"], "table1"),
        (["table1", "--qick"], "the nearest is --quick"),
        (["table1", "--threads", "0"], "--threads 0"),
        (["table1", "--device", "abacus"], "abacus"),
        (["table1", "--output", "file"], "file"),
    ],
)
def test_an_error_is_one_line(
    arguments: list[str], part: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main(["reproduce", *arguments]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("heedful: error: ")
    assert errors.count("\n") == 1
    assert part in errors
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
