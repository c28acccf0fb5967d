"""Parameters, FLOPs and memory by formula against a built model and torch's own counters."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from heedful import kernels
from heedful.kernels.cpu.library import library
from heedful.model.build import build_model
from heedful.model.complexity import activation_bytes, forward_flops, parameters, training_flops
from heedful.model.config import ModelConfig, RecurrentConfig, TransformerConfig

VOCAB, B, N, M = 37, 3, 11, 7
TRANSFORMER = TransformerConfig(layers=2, d_model=14, d_ff=23, heads=2, dropout=0.0)
RECURRENT = RecurrentConfig(d_model=14, dropout=0.0)
CONFIGS: dict[str, ModelConfig] = {
    "paper": TRANSFORMER,
    "prenorm-uneven": replace(TRANSFORMER, decoder_layers=3, d_k=5, d_v=3, norm_position="pre", norm="batch"),
    "learned": replace(TRANSFORMER, positions="learned", max_positions=19, share_embeddings="target"),
    "rotary": replace(TRANSFORMER, positions="rotary", d_k=6),
    "nonorm": replace(TRANSFORMER, norm="none", norm_position="pre", share_embeddings="none"),
    "restricted": replace(TRANSFORMER, neighbourhood=3),
    "restricted-to-more-than-half": replace(TRANSFORMER, neighbourhood=8),
    "restricted-to-more-than-there-is": replace(TRANSFORMER, neighbourhood=41),
    "deterministic-buffer": replace(TRANSFORMER, deterministic_attention="buffer"),
    "deterministic-stack": replace(TRANSFORMER, deterministic_attention="stack", share_embeddings="target"),
    "lstm": replace(RECURRENT, layers=2),
    "lstm-dot": replace(RECURRENT, attention="dot", bidirectional=False, share_embeddings="all"),
    "lstm-general-feeding": replace(RECURRENT, attention="general", input_feeding=True, layers=2, d_embedding=11),
    "gru": replace(RECURRENT, cell="gru", bidirectional=False, d_embedding=11, layers=3),
    "gru-additive": replace(RECURRENT, attention="additive", cell="gru", share_embeddings="target"),
}


@pytest.fixture(params=CONFIGS)
def config(request: pytest.FixtureRequest) -> ModelConfig:
    return CONFIGS[request.param]


def _sides(model: Any) -> dict[str, list[str]]:
    names = [name for name, _ in model.named_parameters()]
    embeddings = [name for name in names if "tokens." in name or "positions." in name]
    rest = [name for name in names if name not in embeddings]
    return {
        "embeddings": embeddings,
        "encoder": [name for name in rest if name.startswith("encoder.")],
        "decoder": [name for name in rest if name.startswith(("decoder.", "deterministic_attention."))],
        "projection": [name for name in rest if name.startswith("projection.")],
    }


@pytest.mark.parametrize("source_vocab", [VOCAB, 53])
def test_parameters_are_the_built_model_s_part_by_part(config: ModelConfig, source_vocab: int) -> None:
    if config.share_embeddings == "all":
        source_vocab = VOCAB
    model = build_model(config, source_vocab, VOCAB)
    count = parameters(config, source_vocab, VOCAB)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    for part, names in _sides(model).items():
        assert getattr(count, part) == sum(sizes.pop(name) for name in names), part
    assert not sizes
    assert count.total == sum(parameter.numel() for parameter in model.parameters())


def test_the_paper_s_models_without_allocating_one() -> None:
    for config in (TransformerConfig(), TransformerConfig(d_model=1024, d_ff=4096, heads=16)):
        with torch.device("meta"):
            model = build_model(config, 37_000, 37_000)
        assert parameters(config, 37_000, 37_000).total == sum(p.numel() for p in model.parameters())


@contextmanager
def _counted() -> Iterator[FlopCounterMode]:
    """Every product as a plain one: fused attention and fused cells are not counted on a CPU."""
    with (
        kernels.plain(),
        sdpa_kernel(SDPBackend.MATH),
        torch.backends.mkldnn.flags(enabled=False),
        FlopCounterMode(display=False) as counter,
    ):
        yield counter


def _batch() -> tuple[Tensor, ...]:
    source, target = torch.randint(4, VOCAB, (B, N)), torch.randint(4, VOCAB, (B, M))
    return source, torch.ones_like(source).bool(), target, torch.ones_like(target).bool()


def test_forward_flops_are_torch_s_count(config: ModelConfig) -> None:
    model = build_model(config, VOCAB, VOCAB)
    batch = _batch()
    with _counted() as counter:
        model.project(model(*batch))
    count = forward_flops(config, VOCAB, N, M)
    assert counter.get_total_flops() == B * count.total
    assert count.projection == 2 * M * config.d_model * VOCAB


def test_training_flops_are_torch_s_count(config: ModelConfig) -> None:
    model = build_model(config, VOCAB, VOCAB)
    batch = _batch()
    with _counted() as counter:
        F.cross_entropy(model.project(model(*batch)).flatten(0, 1), batch[2].flatten()).backward()
    expected = B * training_flops(config, VOCAB, N, M)
    if isinstance(config, RecurrentConfig):  # nobody asks for the gradient of the zeros that a network starts with
        assert 0 <= expected - counter.get_total_flops() < expected / min(N, M)
    else:
        assert counter.get_total_flops() == expected


WIDE = replace(TRANSFORMER, d_model=64, d_ff=256, heads=4, layers=3)
REMEMBERED: dict[str, ModelConfig] = {
    "dropout": replace(WIDE, dropout=0.1),
    "none": WIDE,
    "prenorm": replace(WIDE, norm_position="pre", dropout=0.1),
    "restricted": replace(WIDE, neighbourhood=5, dropout=0.1),
    "deterministic": replace(WIDE, layers=1, deterministic_attention="stack", dropout=0.1),
    "rotary": replace(WIDE, positions="rotary", dropout=0.1),
    "rotary-cross": replace(
        WIDE,
        positions="rotary",
        deterministic_attention="stack",
        rotary_cross_attention=True,
        share_embeddings="target",
        dropout=0.1,
    ),
    "attention-dropout": replace(WIDE, attention_dropout=0.1, dropout=0.1),
    "lstm-dot": replace(RECURRENT, d_model=64, attention="dot", layers=2, dropout=0.1),
    "gru-additive": replace(RECURRENT, d_model=64, attention="additive", cell="gru", dropout=0.1),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "float32") for name in REMEMBERED),
        # the formula takes recurrent cells in float32 always
        *((name, "bfloat16") for name, config in REMEMBERED.items() if config.architecture == "transformer"),
    ],
)
def test_activations_are_what_autograd_keeps_to_an_eighth(name: str, precision: str, fused: bool) -> None:
    config = REMEMBERED[name]
    if fused and library() is None:
        pytest.skip("no C++ compiler here, so no kernels for CPUs")
    model = build_model(config, VOCAB, VOCAB)
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.is_floating_point():
            kept[tensor.untyped_storage().data_ptr()] = tensor  # held, so that no address is used twice
        return tensor

    source, target = torch.randint(4, VOCAB, (13, 31)), torch.randint(4, VOCAB, (13, 29))
    with (
        nullcontext() if fused else kernels.plain(),
        torch.backends.mkldnn.flags(enabled=not isinstance(config, RecurrentConfig)),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"),
        saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        model(source, torch.ones_like(source).bool(), target, torch.ones_like(target).bool())
    cast = {tuple(p.shape) for p in model.parameters()}  # a weight in bfloat16 is no activation
    cast |= {shape[::-1] for shape in cast}
    measured = sum(
        tensor.untyped_storage().nbytes()
        for address, tensor in kept.items()
        if address not in own and tuple(tensor.shape) not in cast
    )
    assert 13 * activation_bytes(config, 31, 29, precision, fused) == pytest.approx(measured, rel=0.12)
