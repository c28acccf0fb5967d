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


@dataclass(frozen=True)
class Layer:
    """One row of the table. Layers of a stack stand at places, from 0 on; those of most stacks are all alike."""

    name: str
    complexity: str
    sequential: str
    path: str
    """The paper's three columns."""
    make: Callable[..., nn.Module]
    """The layer for vectors of width d."""

    def build(self, n: int, d: int, place: int = 0) -> nn.Module:
        """The layer at this place of a stack for n positions, with fresh weights."""
        return self.make(d)

    def place(self, hop: int, n: int) -> int:
        """Hop number `hop` through a stack for n positions is like that at this place."""
        return 0

    def links(self, n: int, place: int) -> Bool[Tensor, "n n"]:
        """Row i: the positions that position i hears of in one hop, by gradients of the layer itself."""
        torch.manual_seed(place)
        layer = self.build(n, _NARROW, place)
        x = torch.randn(1, n, _NARROW).repeat(n, 1, 1).requires_grad_()
        own = torch.arange(n)
        # sentence i of the batch asks for position i's output alone
        (gradient,) = torch.autograd.grad(run(layer, x)[own, own].square().sum(), x)
        return gradient.abs().amax(-1) > 0


class Recurrent(Layer):
    """Here a hop is a step within the layer, and not the next layer of a stack."""

    def place(self, hop: int, n: int) -> int:
        """First each state hears of its own token, then with every hop of the state before it."""
        return min(hop, 1)

    def links(self, n: int, place: int) -> Bool[Tensor, "n n"]:
        """By gradients of a single step, n of them beside each other."""
        torch.manual_seed(place)
        network, x = self.build(n, _NARROW), torch.randn(n, 1, _NARROW, requires_grad=True)
        before = tuple(torch.randn(1, n, _NARROW, requires_grad=True) for _ in "hc")
        states, _ = network(x, before)
        token, *state = torch.autograd.grad(states.square().sum(), (x, *before))
        if place == 0:
            return torch.diag(token[:, 0].abs().amax(-1) > 0)
        heard = torch.cat(state).abs().amax((0, 2)) > 0
        return torch.diag(heard[1:], -1)


@dataclass(frozen=True)
class Dilated(Layer):
    """Convolutions k^m, ..., k, 1 positions apart, all below n, and so on again; `make` takes that distance too.

    The second turn is for pairs near the ends, whose way in the first would lead beyond them.
    """

    k: int

    def build(self, n: int, d: int, place: int = 0) -> nn.Module:
        """The widest first."""
        return self.make(d, self.k ** (self.turn(n) - 1 - place))

    def place(self, hop: int, n: int) -> int:
        """Within the turn."""
        return hop % self.turn(n)

    def turn(self, n: int) -> int:
        """Powers of k below n, 1 among them always."""
        return next(count for count in range(1, n + 1) if self.k**count >= n)


def _heads(d: int) -> tuple[int, int, int]:
    heads = max(1, d // _WIDTH)
    return heads, d // heads, d // heads


ATTENTION, RECURRENT = "self-attention", "recurrent"
LAYERS = (
    Layer(ATTENTION, "n²·d", "1", "1", lambda d: MultiHeadAttention(d, *_heads(d))),
    Recurrent(RECURRENT, "n·d²", "n", "n", lambda d: nn.LSTM(d, d, batch_first=True)),
    Layer("convolutional", "k·n·d²", "1", "n/k", lambda d: Convolution(d, K)),
    Dilated("convolutional, dilated", "k·n·d²", "1", "log_k(n)", lambda d, apart: Convolution(d, K, apart), K),
    Layer("convolutional, separable", "k·n·d + n·d²", "1", "n/k", lambda d: SeparableConvolution(d, K)),
    Layer("restricted self-attention", "r·n·d", "1", "n/r", lambda d: RestrictedAttention(d, *_heads(d), R)),
)
