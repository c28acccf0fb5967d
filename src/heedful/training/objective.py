"""What an update minimises, as a module, so that processes can share its gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from heedful.data.batches import Batch
from heedful.model.embedding import TokenEmbedding
from heedful.model.seq2seq import Seq2Seq
from heedful.training.consistency import projected_consistency
from heedful.training.loss import projected_cross_entropy


class Objective(nn.Module):
    """Sums over a batch's real target tokens: the loss to minimise and the negative log-likelihood."""

    def __init__(self, model: Seq2Seq[Any, Any], label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        for tokens in model.modules():
            if isinstance(tokens, TokenEmbedding) and not tokens.weight.is_cuda:
                tokens.sparse_gradient = tokens.weight is model.projection.weight

    def forward(self, batch: Batch, consistency: float = 0.0, padded: bool = False) -> tuple[Tensor, Tensor]:
        """Two scalars, in nats. `consistency`: R-Drop's α. `padded`: the target outputs are below 0 where they are
        padding, and every position is computed, so that all shapes follow from the batch's."""
        # made before tokens are looked up: so its gradient comes after those of their rows, and takes them in in place
        projection = torch.ops.aten.alias(self.model.projection.weight)
        epsilon = self.label_smoothing
        target = batch.target_output.flatten()
        if not padded:
            target = target.index_select(0, batch.target_places)
        if not consistency:
            return projected_cross_entropy(self._hidden(batch, padded), projection, target, epsilon, padded)
        # every sentence twice in one pass, each time with its own dropout
        first, second = self._hidden(batch.twice(), padded).chunk(2)
        return projected_consistency((first, second), projection, target, epsilon, consistency, padded)

    def _hidden(self, batch: Batch, padded: bool) -> Tensor:
        """`[positions, d_model]`: all, or those of real tokens."""
        tensors = batch.source, batch.source_mask, batch.target_input, batch.target_mask
        if not padded:
            return self.model.real_states(*tensors, batch.target_places)
        hidden: Tensor = self.model(*tensors)
        return hidden.flatten(0, 1)
