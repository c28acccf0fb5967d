"""Optimisers and learning-rate schedules (Section 5.3), and the moving average of the weights."""

import math
from collections.abc import Mapping
from itertools import compress

import torch
from torch import Tensor, nn

from heedful.errors import HeedfulError
from heedful.model.embedding import Projection
from heedful.training.config import TrainingConfig
from heedful.training.muon import Muon, begin_adam


def learning_rate(config: TrainingConfig, step: int, d_model: int) -> float:
    """The rate of update `step`, counted from 1.

    paper: lr · d_model^-0.5 · min(step^-0.5, step · warmup_steps^-1.5) (equation 3), lr a factor, by default 1;
    inverse-sqrt: linear to lr at warmup_steps, then lr · (warmup_steps / step)^0.5;
    cosine: linear to lr, which stays for a share `hold` of the steps left, then half a cosine to 0 at decay_steps.
    """
    warmup = config.warmup_steps
    if config.schedule == "paper":
        return config.lr * float(d_model**-0.5 * min(step**-0.5, step * warmup**-1.5))
    if step < warmup:
        return config.lr * step / warmup
    if config.schedule == "inverse-sqrt":
        return config.lr * math.sqrt(warmup / step)
    end = config.decay_steps or config.max_steps or step
    done = min(1.0, (step - warmup) / max(1, end - warmup))
    fallen = max(0.0, (done - config.hold) / (1 - config.hold))
    return config.lr * 0.5 * (1 + math.cos(math.pi * fallen))


def check_schedule(config: TrainingConfig) -> None:
    """Raises `HeedfulError` where nothing says when the cosine ends."""
    if config.schedule == "cosine" and not (config.decay_steps or config.max_steps):
        raise HeedfulError("the cosine schedule needs an end: pass --decay-steps or --max-steps")


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Adam or AdamW over all weights, or Muon for the stacks' matrices; matrices alone decay."""
    if config.optimizer == "muon":
        return _muon(model, config)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    betas = (config.beta1, config.beta2)
    optimizer = kind(
        [group for group in groups if group["params"]],
        lr=0.0,
        betas=betas,
        eps=config.adam_epsilon,
        fused=True,
    )
    begin_adam(optimizer)
    return optimizer


def _muon(model: nn.Module, config: TrainingConfig) -> Muon:
    """Rows of a vocabulary are no map between spaces: they, like biases and gains, are left to Adam."""
    rows = vocabulary_rows(model)
    parameters = list(model.parameters())
    chosen = [p.ndim == 2 and id(p) not in rows for p in parameters]
    return Muon(
        compress(parameters, chosen),
        compress(parameters, (not matrix for matrix in chosen)),
        momentum=config.momentum,
        betas=(config.beta1, config.beta2),
        eps=config.adam_epsilon,
        weight_decay=config.weight_decay,
        dtype=torch.bfloat16 if config.precision == "bfloat16" else torch.float32,
    )


def vocabulary_rows(model: nn.Module) -> set[int]:
    """The `id` of every weight that has a row for each token."""
    return {
        id(weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding | Projection)
        for weight in module.parameters()
    }


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by `kind/parameter`, for a file that knows only tensors."""
    return {
        f"{kind}/{name}": tensor
        for name, parameter in model.named_parameters()
        for kind, tensor in optimizer.state[parameter].items()
    }


def load_optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`."""
    parameters = dict(model.named_parameters())
    for key, tensor in tensors.items():
        kind, _, name = key.partition("/")
        optimizer.state[parameters[name]][kind] = tensor.to(parameters[name].device)


class MovingAverage:
    """Exponential moving average of the weights.

    The decay rises to its full value over the first steps, min(decay, (1 + t) / (10 + t)), so that the
    random start is forgotten (as in TensorFlow's ExponentialMovingAverage).
    """

    def __init__(self, weights: Mapping[str, Tensor], decay: float) -> None:
        self.decay = decay
        self.weights = {name: tensor.detach().clone() for name, tensor in weights.items()}

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor], step: int) -> None:
        """After update `step`."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        own = [self.weights[name] for name, tensor in weights.items() if tensor.is_floating_point()]
        new = [tensor.detach() for tensor in weights.values() if tensor.is_floating_point()]
        torch._foreach_lerp_(own, new, share)

    @torch.no_grad()
    def swap(self, weights: Mapping[str, Tensor]) -> None:
        """Exchanges the average with the weights in training; a second call brings them back."""
        for name, tensor in weights.items():
            held = self.weights[name].clone()
            self.weights[name].copy_(tensor)
            tensor.copy_(held)
