"""A batch with padding, and models of every kind, small and of prime sizes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from heedful.model.build import build_model
from heedful.model.config import RecurrentConfig, TransformerConfig
from heedful.model.deterministic import ParserTokens
from heedful.model.masks import padding_mask
from heedful.model.norm import BatchNorm
from heedful.model.seq2seq import Seq2Seq

VOCAB = 37
PAD = 0


@dataclass(frozen=True)
class Pairs:
    source: Tensor
    source_mask: Tensor
    target: Tensor
    target_mask: Tensor

    def __iter__(self) -> Any:
        return iter((self.source, self.source_mask, self.target, self.target_mask))


def make_pairs(source_lengths: list[int], target_lengths: list[int], seed: int = 0) -> Pairs:
    generator = torch.Generator().manual_seed(seed)
    source_mask, target_mask = (padding_mask(torch.tensor(n)) for n in (source_lengths, target_lengths))
    source, target = (
        torch.randint(4, VOCAB, mask.shape, generator=generator).where(mask, PAD) for mask in (source_mask, target_mask)
    )
    return Pairs(source, source_mask, target, target_mask)


@pytest.fixture
def pairs() -> Pairs:
    return make_pairs([11, 3, 7, 1, 5], [2, 13, 5, 7, 1])


@pytest.fixture
def make() -> Callable[[list[int], list[int]], Pairs]:
    return make_pairs


TRANSFORMER = TransformerConfig(layers=2, d_model=14, d_ff=23, heads=2, dropout=0.0, share_embeddings="all")
RECURRENT = RecurrentConfig(d_model=14, dropout=0.0)
# random targets are no trees, but hold all that trees do
TOKENS = ParserTokens(
    (3, *range(4, 20)), leaves=range(4, 14), opening=range(14, 25), closing=range(25, 32), in_order=True
)
CONFIGS = {
    "paper": TRANSFORMER,
    "prenorm-batchnorm-learned": replace(
        TRANSFORMER,
        decoder_layers=3,
        d_k=5,
        d_v=3,
        norm_position="pre",
        norm="batch",
        positions="learned",
        max_positions=5,
        share_embeddings="target",
    ),
    "rotary": replace(TRANSFORMER, positions="rotary", d_k=6),
    "rotary-restricted": replace(TRANSFORMER, positions="rotary", d_k=6, neighbourhood=4),
    "postnorm-batchnorm": replace(TRANSFORMER, norm="batch", positions="none", share_embeddings="none"),
    "restricted": replace(TRANSFORMER, neighbourhood=3),
    "restricted-even": replace(TRANSFORMER, neighbourhood=2, norm_position="pre", norm="batch", decoder_layers=3),
    "deterministic-buffer": replace(TRANSFORMER, deterministic_attention="buffer"),
    "deterministic-stack": replace(TRANSFORMER, deterministic_attention="stack", norm_position="pre", neighbourhood=3),
    "deterministic-rotary": replace(
        TRANSFORMER,
        positions="rotary",
        d_k=6,
        deterministic_attention="stack",
        rotary_cross_attention=True,
    ),
    "nonorm-noskip": replace(TRANSFORMER, norm="none", skip=False),
    "lstm": replace(RECURRENT, layers=2),
    "gru": replace(RECURRENT, cell="gru", bidirectional=False, d_embedding=11),
    "lstm-dot": replace(RECURRENT, attention="dot", bidirectional=False, share_embeddings="all"),
    "lstm-general-feeding": replace(RECURRENT, attention="general", input_feeding=True, layers=2, d_embedding=11),
    "gru-additive": replace(RECURRENT, attention="additive", cell="gru", share_embeddings="target"),
    "gru-additive-feeding": replace(RECURRENT, attention="additive", cell="gru", input_feeding=True, layers=2),
}


@pytest.fixture(params=list(CONFIGS))
def model(request: pytest.FixtureRequest) -> Seq2Seq[Any, Any]:
    """Dropout is zero; a BatchNorm has seen a batch."""
    torch.manual_seed(1)
    model = build_model(CONFIGS[request.param], VOCAB, VOCAB, TOKENS)
    norms = [module for module in model.modules() if isinstance(module, BatchNorm)]
    if norms:
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            model(*make_pairs([7, 5, 3], [3, 5, 7]))
    return model
