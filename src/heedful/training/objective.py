"""What an update minimises, as a module, so that processes can share its gradients."""

from typing import Any

from torch import Tensor, nn

from heedful.data.batches import Batch
from heedful.model.seq2seq import Seq2Seq
from heedful.training.consistency import projected_consistency
from heedful.training.loss import projected_cross_entropy


class Objective(nn.Module):
    """Sums over a batch's real target tokens: the loss to minimise and the negative log-likelihood."""

    def __init__(self, model: Seq2Seq[Any, Any], label_smoothing: float) -> None:
        super().__init__()
        self.model = model
        self.label_smoothing = label_smoothing

    def forward(self, batch: Batch, consistency: float = 0.0) -> tuple[Tensor, Tensor]:
        """Two scalars, in nats. `consistency`: R-Drop's α."""
        if consistency:
            return self._consistent(batch, consistency)
        real = batch.target_mask
        return projected_cross_entropy(
            self._hidden(batch)[real], self.model.projection.weight, batch.target_output[real], self.label_smoothing
        )

    def _consistent(self, batch: Batch, consistency: float) -> tuple[Tensor, Tensor]:
        """Every sentence twice in one pass, each time with its own dropout."""
        real = batch.target_mask
        first, second = self._hidden(batch.rows([*range(len(batch.lines))] * 2)).chunk(2)
        return projected_consistency(
            (first[real], second[real]),
            self.model.projection.weight,
            batch.target_output[real],
            self.label_smoothing,
            consistency,
        )

    def _hidden(self, batch: Batch) -> Tensor:
        hidden: Tensor = self.model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
        return hidden
