"""R-Drop: the formula against torch's own divergence, and the fused form with its gradients."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

import heedful
from heedful import kernels
from heedful.data.batches import Batch
from heedful.training import consistency as module
from heedful.training.consistency import consistent_cross_entropy, projected_consistency
from heedful.training.objective import Objective
from tests.small import SMALL

POSITIONS, D_MODEL, VOCAB = 23, 7, 31


def _case() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(5)
    first, second, projection = (
        torch.randn(rows, D_MODEL, generator=generator, dtype=torch.float64, requires_grad=True)
        for rows in (POSITIONS, POSITIONS, VOCAB)
    )
    return first, second, projection, torch.randint(VOCAB, (POSITIONS,), generator=generator)


def test_it_is_half_of_what_the_paper_adds_up() -> None:
    first, second, projection, target = _case()
    logits = (first @ projection.T).float(), (second @ projection.T).float()
    loss, likelihood = consistent_cross_entropy(logits, target, 0.1, 5.0)
    entropies = [F.cross_entropy(z, target, reduction="sum", label_smoothing=0.1) for z in logits]
    p, q = (z.log_softmax(-1) for z in logits)
    divergences = [F.kl_div(b, a, reduction="sum", log_target=True) for a, b in ((p, q), (q, p))]
    paper = sum(entropies) + 5.0 / 2 * sum(divergences)
    torch.testing.assert_close(2 * loss, paper)
    plain = [F.cross_entropy(z, target, reduction="sum") for z in logits]
    torch.testing.assert_close(2 * likelihood, sum(plain))


def test_equal_passes_cost_the_cross_entropy_alone() -> None:
    first, _, projection, target = _case()
    z = (first @ projection.T).float()
    loss, _ = consistent_cross_entropy((z, z), target, 0.1, 5.0)
    torch.testing.assert_close(loss, F.cross_entropy(z, target, reduction="sum", label_smoothing=0.1))


@pytest.mark.parametrize("path", [kernels.plain, nullcontext])
@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_fused_with_the_projection_it_gives_the_same_sums_and_gradients(
    chunk: int, path: Callable[[], AbstractContextManager[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "chunk_size", lambda *_: chunk)
    first, second, projection, target = (x.float().detach() if x.is_floating_point() else x for x in _case())
    weights = [x.requires_grad_() for x in (first, second, projection)]
    plain = consistent_cross_entropy((first @ projection.T, second @ projection.T), target, 0.1, 3.0)
    plain_grads = torch.autograd.grad(plain[0] / 3, weights)
    with path():
        fused = projected_consistency((first, second), projection, target, 0.1, 3.0)
    fused_grads = torch.autograd.grad(fused[0] / 3, weights)
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(fused_grads, plain_grads)


def test_both_passes_of_a_pair_count_against_what_a_device_holds(
    corpus: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest = []
    forward = Objective._hidden

    def watched(self: Objective, batch: Batch) -> torch.Tensor:
        largest.append(max(batch.source.numel(), batch.target_input.numel()))
        return forward(self, batch)

    monkeypatch.setattr(Objective, "_hidden", watched)
    fields = SMALL | {"consistency": 3.0, "device_tokens": 200, "max_steps": 2}
    heedful.train(**corpus, output=tmp_path / "run", **fields)
    assert largest
    assert max(largest) <= 200


def test_it_can_begin_later(corpus: dict[str, Any], tmp_path: Path) -> None:
    def losses(**fields: Any) -> list[float]:
        run = tmp_path / str(fields)
        heedful.train(**corpus, output=run, **SMALL | {"max_steps": 4, "log_every": 1} | fields)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [line["loss"] for line in lines if "loss" in line]

    plain, late = losses(), losses(consistency=3.0, consistency_after=2)
    assert late[:2] == plain[:2]
    assert late[2] > plain[2]
