"""The layers of Table 1 and two more of Section 4, each from n vectors of width d to as many."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from heedful.model.attention import MultiHeadAttention
from heedful.model.convolution import Convolution, SeparableConvolution
from heedful.model.restricted import RestrictedAttention

R, K = 32, 3
"""The neighbourhood of restricted self-attention and the kernel of convolutions that are measured."""
_WIDTH = 64
"""Of a head at most, as in the paper's base and big."""
_NARROW = 8
"""d where only connections matter."""


def run(layer: nn.Module, x: Float[Tensor, "batch n d"]) -> Float[Tensor, "batch n d"]:
    """The layer's vectors alone, of what attention and recurrent networks return."""
    output = layer(x)
    vectors: Tensor = output[0] if isinstance(output, tuple) else output
    return vectors


def _stacked(build: Callable[[int, int], nn.Module], n: int, hop: int) -> Bool[Tensor, "n n"]:
    """Layer number `hop` of a stack: row i is True where an input position's gradient from output i is not zero."""
    layer = build(_NARROW, hop)
    x = torch.randn(1, n, _NARROW).repeat(n, 1, 1).requires_grad_()
    own = torch.arange(n)
    # sentence i of the batch asks for position i's output alone
    (gradient,) = torch.autograd.grad(run(layer, x)[own, own].square().sum(), x)
    return gradient.abs().amax(-1) > 0


def _recurrent(build: Callable[[int, int], nn.Module], n: int, hop: int) -> Bool[Tensor, "n n"]:
    """First every state hears of its own token, then with each hop of the state before it, through one step."""
    network, x = build(_NARROW, hop), torch.randn(n, 1, _NARROW, requires_grad=True)
    before = tuple(torch.randn(1, n, _NARROW, requires_grad=True) for _ in "hc")
    states, _ = network(x, before)
    token, *state = torch.autograd.grad(states.square().sum(), (x, *before))
    if hop == 0:
        return torch.diag(token[:, 0].abs().amax(-1) > 0)
    heard = torch.cat(state).abs().amax((0, 2)) > 0
    return torch.diag(heard[1:], -1)


@dataclass(frozen=True)
class Layer:
    """One row of the table; `build(d, number)` makes the layer that stands at this place of a stack, from 0 on."""

    name: str
    complexity: str
    sequential: str
    path: str
    """The paper's three columns."""
    build: Callable[[int, int], nn.Module]
    reach: Callable[[Callable[[int, int], nn.Module], int, int], Tensor] = _stacked
    kinds: int | None = 1
    """How many hops differ in what they reach, the first ones; None: each from all others."""

    def links(self, n: int, hop: int) -> Bool[Tensor, "n n"]:
        """Row i: the positions that position i hears of in hop number `hop`, by gradients of the layer itself."""
        torch.manual_seed(hop)
        return self.reach(self.build, n, hop)


def _heads(d: int) -> tuple[int, int, int]:
    heads = max(1, d // _WIDTH)
    return heads, d // heads, d // heads


ATTENTION, RECURRENT = "self-attention", "recurrent"
LAYERS = (
    Layer(ATTENTION, "n²·d", "1", "1", lambda d, _: MultiHeadAttention(d, *_heads(d))),
    Layer(RECURRENT, "n·d²", "n", "n", lambda d, _: nn.LSTM(d, d, batch_first=True), _recurrent, 2),
    Layer("convolutional", "k·n·d²", "1", "n/k", lambda d, _: Convolution(d, K)),
    Layer(
        "convolutional, dilated", "k·n·d²", "1", "log_k(n)", lambda d, number: Convolution(d, K, K**number), kinds=None
    ),
    Layer("convolutional, separable", "k·n·d + n·d²", "1", "n/k", lambda d, _: SeparableConvolution(d, K)),
    Layer("restricted self-attention", "r·n·d", "1", "n/r", lambda d, _: RestrictedAttention(d, *_heads(d), R)),
)
