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

    def forward(self, batch: Batch, consistency: float = 0.0, padded: bool = False) -> tuple[Tensor, Tensor]:
        """Two scalars, in nats. `consistency`: R-Drop's α. `padded`: the target outputs are below 0 where they are
        padding, and every position is computed, so that all shapes follow from the batch's."""
        projection, epsilon = self.model.projection.weight, self.label_smoothing
        target = _counted(batch.target_output, batch, padded)
        if not consistency:
            return projected_cross_entropy(
                _counted(self._hidden(batch), batch, padded), projection, target, epsilon, padded
            )
        # every sentence twice in one pass, each time with its own dropout
        halves = self._hidden(batch.twice()).chunk(2)
        first, second = (_counted(half, batch, padded) for half in halves)
        return projected_consistency((first, second), projection, target, epsilon, consistency, padded)

    def _hidden(self, batch: Batch) -> Tensor:
        hidden: Tensor = self.model(batch.source, batch.source_mask, batch.target_input, batch.target_mask)
        return hidden


def _counted(each: Tensor, batch: Batch, padded: bool) -> Tensor:
    """`[batch, target, …]` → `[positions, …]`: all, or those of real tokens."""
    flat = each.flatten(0, 1)
    return flat if padded else flat.index_select(0, batch.target_places)
