"""Where attention may look (Section 3.2.3): True means yes. Padding stands at the end of a sequence."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def padding_mask(lengths: Int[Tensor, " batch"], width: int | None = None) -> Bool[Tensor, "batch width"]:
    """True on the first `lengths[i]` positions of row i; as wide as the longest unless `width` says otherwise."""
    longest = int(lengths.max()) if width is None else width
    return torch.arange(longest, device=lengths.device) < lengths.unsqueeze(1)


def causal_mask(length: int, device: torch.device | str | None = None) -> Bool[Tensor, "length length"]:
    """True where key <= query: no position sees a later one."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def local_mask(
    length: int, before: int, after: int, device: torch.device | str | None = None
) -> Bool[Tensor, "length length"]:
    """True where query - before <= key <= query + after: the neighbourhood of restricted self-attention (Section 4)."""
    return torch.ones(length, length, dtype=torch.bool, device=device).triu(-before).tril(after)


def over_heads(mask: Bool[Tensor, "batch key"]) -> Bool[Tensor, "batch 1 1 key"]:
    """A mask of keys, the same for every head and every query."""
    return mask[:, None, None, :]


def masked_softmax(
    scores: Float[Tensor, "*batch key"], mask: Bool[Tensor, "#*batch #key"] | None
) -> Float[Tensor, "*batch key"]:
    """Softmax over the keys that the mask leaves; a row with no key left is all zeros, its gradient too."""
    if mask is None:
        return scores.softmax(-1)
    # The lowest finite number instead of -inf: a row without keys would be 0/0, here and in the gradient.
    masked = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    return masked.softmax(-1).masked_fill(~mask, 0.0)


def masked_scores(
    scores: Float[Tensor, "*batch key"], mask: Bool[Tensor, "#*batch #key"] | None
) -> Float[Tensor, "*batch key"]:
    """The scores as they are where the mask leaves a key, else zero: weights that the lecture warns of."""
    return scores if mask is None else scores.masked_fill(~mask, 0.0)
