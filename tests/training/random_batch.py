"""Batches of random tokens."""

import torch

from heedful.data.batches import Batch, collate_pairs

VOCAB = 40


def random_batch(rows: int, longest: int, seed: int = 1) -> Batch:
    """Pairs of 1 to `longest` tokens on either side, EOS not counted."""
    generator = torch.Generator().manual_seed(seed)

    def side() -> list[list[int]]:
        lengths = torch.randint(1, longest + 1, (rows,), generator=generator).tolist()
        return [torch.randint(4, VOCAB, (length,), generator=generator).tolist() for length in lengths]

    return collate_pairs(side(), side())
