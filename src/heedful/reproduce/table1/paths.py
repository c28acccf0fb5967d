"""Path lengths (Section 4, third column): a walk over who hears of whom."""

import itertools

import torch
from torch import Tensor

from heedful.reproduce.table1.layers import Layer


def longest_path(layer: Layer, n: int) -> int:
    """Of all pairs of positions that a stack of such layers connects at all, the hops between the farthest.

    A hop is a layer of the stack, or of a recurrent layer the step from one position to the next.
    """
    known, longest, idle = torch.zeros(n, n, dtype=torch.bool), 0, 0
    heard = torch.eye(n, dtype=torch.bool)
    links: dict[int, Tensor] = {}
    for hop in itertools.count():
        place = layer.place(hop, n)
        if place not in links:
            links[place] = layer.links(n, place)
        # row i of links: the positions that i hears of now; what these had heard before, it hears of through them
        told = (links[place].float() @ heard.float()) > 0
        news = bool((told & ~known).any())
        longest, idle = (hop + 1, 0) if news else (longest, idle + 1)
        if idle == len(links):  # nobody hears anything new in any of the places
            break
        known |= told
        heard = known
    return longest
