"""Path lengths (Section 4, third column): a walk over who hears of whom."""

import torch
from torch import Tensor

from heedful.reproduce.table1.layers import Layer


def longest_path(layer: Layer, n: int) -> int:
    """Of all pairs of positions that a stack of such layers connects at all, the hops between the farthest.

    A hop is a layer of the stack, or of a recurrent layer the step from one position to the next.
    """
    known, hops = torch.zeros(n, n, dtype=torch.bool), 0
    heard = torch.eye(n, dtype=torch.bool)
    links: dict[int, Tensor] = {}
    while True:
        kind = hops if layer.kinds is None else min(hops, layer.kinds - 1)
        if kind not in links:
            links[kind] = layer.links(n, kind)
        # row i of links: the positions that i hears of now; what these had heard before, it hears of through them
        told = (links[kind].float() @ heard.float()) > 0
        if not (told & ~known).any():
            return hops
        known |= told
        heard, hops = known, hops + 1
