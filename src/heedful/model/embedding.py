"""Learned embeddings and the projection before the softmax (Section 3.4)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from heedful.model.dropout import Dropout
from heedful.model.positions import Start


class TokenEmbedding(nn.Embedding):
    """A row per token, drawn from N(0, 1 / d_model) and multiplied by sqrt(d_model) when looked up."""

    sparse_gradient = False
    """Whether lookups leave a gradient of their rows alone: for `Objective`, where the weight gets a whole one too."""

    def reset_parameters(self) -> None:
        """Draws the rows anew; with this deviation the shared projection starts with logits of order one."""
        nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)

    def forward(self, input: Int[Tensor, "*positions"]) -> Float[Tensor, "*positions d_model"]:
        """Unit variance at the start, the same order as the positional encoding."""
        rows = F.embedding(input, self.weight, sparse=self.sparse_gradient)
        return rows * math.sqrt(self.embedding_dim)


class Projection(nn.Linear):
    """Logits xE^T without bias. Sharing E with an embedding is done by assigning its `weight`."""

    def __init__(self, d_model: int, vocab: int) -> None:
        super().__init__(d_model, vocab, bias=False)

    def reset_parameters(self) -> None:
        """Like an embedding's rows, whether it is shared with one or not."""
        nn.init.normal_(self.weight, std=self.in_features**-0.5)


class InputEmbedding(nn.Module):
    """What enters a stack: dropout(embedding * sqrt(d_model) + position) (Sections 3.4, 3.5, 5.4)."""

    def __init__(self, tokens: TokenEmbedding, positions: nn.Module, dropout: Dropout) -> None:
        super().__init__()
        self.tokens = tokens
        self.positions = positions
        self.dropout = dropout

    def forward(
        self,
        tokens: Int[Tensor, "batch positions"],
        start: Start = 0,
        beside: Float[Tensor, "batch positions d_model"] | None = None,
    ) -> Float[Tensor, "batch positions d_model"]:
        """`start` as in positions; what stands `beside` is one summand more."""
        x: Tensor = self.positions(self.tokens(tokens), start)
        if beside is not None:
            x = x + beside
        if torch.is_autocast_enabled(x.device.type):  # the whole stream is narrow, not only what enters a product
            x = x.to(torch.get_autocast_dtype(x.device.type))
        output: Tensor = self.dropout(x)
        return output
