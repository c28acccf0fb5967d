"""What an update minimises, as a module, so that processes can share its gradients."""

from typing import Any

import torch
from torch import Tensor, nn

from heedful.data.batches import Batch
from heedful.model.embedding import TokenEmbedding
from heedful.model.seq2seq import Seq2Seq
from heedful.model.transformer import Transformer
from heedful.training.consistency import projected_consistency
from heedful.training.loss import projected_cross_entropy
from heedful.training.packed import PackedBatch


class Objective(nn.Module):
    """Sums over a batch's real target tokens: the loss to minimise and the negative log-likelihood."""

    def __init__(self, model: Seq2Seq[Any, Any], label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing
        for tokens in model.modules():
            if isinstance(tokens, TokenEmbedding) and not tokens.weight.is_cuda:
                tokens.sparse_gradient = tokens.weight is model.projection.weight

    def forward(self, batch: Batch | PackedBatch, consistency: float = 0.0) -> tuple[Tensor, Tensor]:
        """Two scalars, in nats. `consistency`: R-Drop's α. Packed batches are for Transformers that pack."""
        # made before tokens are looked up: so its gradient comes after those of their rows, and takes them in in place
        projection = torch.ops.aten.alias(self.model.projection.weight)
        epsilon = self.label_smoothing
        target, padded = batch.target_output, isinstance(batch, PackedBatch)
        if isinstance(batch, Batch):
            target = target.flatten().index_select(0, batch.target_places)
        if not consistency:
            return projected_cross_entropy(self._hidden(batch), projection, target, epsilon, padded)
        # every sentence twice in one pass, each time with its own dropout
        first, second = self._hidden(batch.twice()).chunk(2)
        return projected_consistency((first, second), projection, target, epsilon, consistency, padded)

    def _hidden(self, batch: Batch | PackedBatch) -> Tensor:
        """`[target tokens, d_model]`."""
        if isinstance(batch, Batch):
            tensors = batch.source, batch.source_mask, batch.target_input, batch.target_mask
            return self.model.real_states(*tensors, batch.target_places)
        assert isinstance(self.model, Transformer)
        return self.model.row_states(batch.source, batch.target_input, batch.sentences)
