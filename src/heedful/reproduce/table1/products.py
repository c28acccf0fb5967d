"""Multiply-adds and waiting, read off the operations that a layer really dispatches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from heedful import kernels
from heedful.reproduce.table1.layers import Layer, run


@dataclass(frozen=True)
class Work:
    """Multiply-adds of one layer's forward pass over one sentence."""

    multiply_adds: int
    """All of them, in products of matrices and convolutions."""
    projections: int
    """Those of products of all positions at once with weights, each position by itself."""

    @property
    def mixing(self) -> int:
        """Multiply-adds without projections: what lets positions know of one another."""
        return self.multiply_adds - self.projections


def work(layer: Layer, n: int, d: int) -> Work:
    """Counted while the layer runs."""
    products, _ = _watched(layer, n, d)
    return Work(products.multiply_adds, products.projections)


def chain(layer: Layer, n: int, d: int) -> int:
    """Products that wait for one another, on the longest way from input to output."""
    products, output = _watched(layer, n, d)
    return products.depth(output)


def _watched(layer: Layer, n: int, d: int) -> tuple["_Products", Tensor]:
    """Without kernels that would hide several products in one."""
    module = layer.build(n, d)
    plain = torch.backends.mkldnn.flags(enabled=False, allow_tf32=None)
    with torch.no_grad(), plain, kernels.plain(), sdpa_kernel(SDPBackend.MATH), _Products(module, n) as products:
        return products, run(module, torch.randn(1, n, d))


@dataclass(frozen=True)
class Cost:
    """Multiply-adds as a function of n and d."""

    pairs: int
    """Times n² · d."""
    maps: int
    """Times n · d²."""
    elements: int
    """Times n · d."""

    def __call__(self, n: int, d: int) -> int:
        return n * d * (self.pairs * n + self.maps * d + self.elements)

    def __str__(self) -> str:
        terms = ((self.pairs, "n²·d"), (self.maps, "n·d²"), (self.elements, "n·d"))
        return " + ".join(f"{'' if factor == 1 else f'{factor}·'}{term}" for factor, term in terms if factor) or "0"


def cost(counts: Mapping[tuple[int, int], int]) -> Cost:
    """The function that these counts, by n and d, are values of. Raises ValueError where there is none."""
    terms = np.array([(n * n * d, n * d * d, n * d) for n, d in counts], dtype=np.float64)
    values = np.array(list(counts.values()), dtype=np.float64)
    solution = np.linalg.lstsq(terms, values, rcond=None)[0]
    found = Cost(*(round(factor) for factor in solution.tolist()))
    if any(found(n, d) != count for (n, d), count in counts.items()):
        raise ValueError(f"{dict(counts)} is no sum of n²·d, n·d² and n·d")
    return found


class _Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sums up the products it sees, and remembers how many lie behind every tensor."""

    def __init__(self, module: nn.Module, n: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.multiply_adds = self.projections = 0
        self._positions = n
        self._weights = {_address(weight) for weight in module.parameters()}
        self._depths: dict[int, int] = {}
        self._held: list[Any] = []  # so that no address is used twice

    def depth(self, tensor: Tensor) -> int:
        """Products on the longest way to this tensor; views share what they look at."""
        return self._depths.get(_address(tensor), 0)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        inputs = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        outputs = [each for each in tree_leaves(result) if isinstance(each, Tensor)]
        depth = max(map(self.depth, inputs), default=0)
        flops = flop_registry.get(func.overloadpacket)
        if flops is not None:
            count = flops(*args, **(kwargs or {}), out_val=result) // 2
            self.multiply_adds += count
            self.projections += count * self._is_projection(inputs, result)
            depth += 1
        for each in outputs:
            self._held.append(each)
            self._depths[_address(each)] = max(depth, self.depth(each))
        return result

    def _is_projection(self, inputs: Sequence[Tensor], result: Tensor) -> bool:
        """A product of all positions with a weight that is a matrix, not a kernel over several of them."""
        weights = [each for each in inputs if _address(each) in self._weights and each.dim() > 1]
        return bool(weights) and all(each.dim() == 2 for each in weights) and len(result) == self._positions


def _address(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage()._cdata
    return address
