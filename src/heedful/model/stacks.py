"""Encoder and decoder stacks (Section 3.1): sublayers, each inside a residual connection with dropout and norm."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from heedful import kernels
from heedful.kernels.residual import add_dropout, add_norm
from heedful.kernels.sentences import Ragged
from heedful.model.attention import KeysValues, MultiHeadAttention
from heedful.model.dropout import Dropout, dropped_levels
from heedful.model.feed_forward import FeedForward
from heedful.model.norm import LayerNorm


class Residual(nn.Module):
    """What surrounds a sublayer: `enter` makes its input, `leave` joins its output to the stream x.

    A norm is any module called as `norm(x, mask)`, the mask True on real tokens. Without `skip` the stream
    is replaced by the sublayer's output instead of added to.
    """

    def __init__(self, norm: nn.Module, dropout: Dropout, skip: bool = True) -> None:
        super().__init__()
        self.norm = norm
        self.dropout = dropout
        self.skip = skip

    def enter(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The sublayer's input."""
        raise NotImplementedError

    def leave(self, x: Tensor, output: Tensor, mask: Tensor | None) -> Tensor:
        """The stream after the sublayer."""
        raise NotImplementedError

    def _add(self, x: Tensor, output: Tensor) -> Tensor:
        if self._in_one_kernel(x, output) and self.dropout.p > 0.0:
            return add_dropout(x, output, dropped_levels(self.dropout.p))
        dropped: Tensor = self.dropout(output)
        return x + dropped if self.skip else dropped

    def _in_one_kernel(self, x: Tensor, output: Tensor) -> bool:
        return self.training and self.skip and kernels.backend(x, output) is not None


class PostNorm(Residual):
    """norm(x + dropout(sublayer(x))), the paper's order."""

    def enter(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x."""
        return x

    def leave(self, x: Tensor, output: Tensor, mask: Tensor | None) -> Tensor:
        """norm(x + dropout(output))."""
        norm = self.norm
        if self._in_one_kernel(x, output) and isinstance(norm, LayerNorm):
            return add_norm(x, output, norm.weight, norm.bias, norm.eps, dropped_levels(self.dropout.p))
        normed: Tensor = norm(self._add(x, output), mask)
        return normed


class PreNorm(Residual):
    """x + dropout(sublayer(norm(x))); the stack needs one more norm at its end."""

    def enter(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """norm(x)."""
        normed: Tensor = self.norm(x, mask)
        return normed

    def leave(self, x: Tensor, output: Tensor, mask: Tensor | None) -> Tensor:
        """x + dropout(output)."""
        return self._add(x, output)


class EncoderLayer(nn.Module):
    """Self-attention, then the feed-forward network."""

    def __init__(
        self, self_attention: MultiHeadAttention, feed_forward: FeedForward, residual: Callable[[], Residual]
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.self_attention_residual = residual()
        self.feed_forward = feed_forward
        self.feed_forward_residual = residual()

    def forward(
        self,
        x: Float[Tensor, "batch source d_model"],
        mask: Bool[Tensor, "batch source"] | None,
        attend: Bool[Tensor, "batch 1 1 source"] | Ragged | None,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch source d_model"], Float[Tensor, "batch heads source source"] | None]:
        """The stream and, where asked for, the weights. `mask` is for norms, `attend` for attention."""
        around = self.self_attention_residual
        output, weights = self.self_attention(around.enter(x, mask), mask=attend, need_weights=need_weights)
        x = around.leave(x, output, mask)
        around = self.feed_forward_residual
        return around.leave(x, self.feed_forward(around.enter(x, mask)), mask), weights


class Encoder(nn.Module):
    """N layers; pre-norm needs a norm after the last one."""

    def __init__(self, layers: Sequence[EncoderLayer], final_norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.final_norm = final_norm

    def forward(
        self,
        x: Float[Tensor, "batch source d_model"],
        mask: Bool[Tensor, "batch source"] | None,
        attend: Bool[Tensor, "batch 1 1 source"] | Ragged | None,
        need_weights: bool = False,
    ) -> tuple[Float[Tensor, "batch source d_model"], list[Tensor]]:
        """The memory and each layer's weights (an empty list unless asked for)."""
        seen = []
        for layer in self.layers:
            x, weights = layer(x, mask, attend, need_weights)
            if weights is not None:
                seen.append(weights)
        return self.final_norm(x, mask), seen

    def packs(self, longest: int) -> bool:
        """Whether every layer takes sentences up to this length in one row."""
        return all(cast("EncoderLayer", layer).self_attention.packs(longest, longest) for layer in self.layers)


@dataclass(frozen=True)
class Teacher:
    """What every decoder layer is told about a batch with known targets.

    `target_mask` is for norms, `self_attend` and `cross_attend` for attention; None: nothing is hidden but,
    in self-attention, what comes later. `source_positions` say where in the
    source a parser stands.
    """

    memory: Float[Tensor, "batch source d_model"]
    target_mask: Bool[Tensor, "batch target"] | None
    self_attend: Bool[Tensor, "batch 1 1 target"] | Ragged | None
    cross_attend: Bool[Tensor, "batch 1 1 source"] | Ragged | None
    source_positions: Int[Tensor, "batch target"] | None


class DecoderLayer(nn.Module):
    """Masked self-attention, attention over the memory, feed-forward network."""

    def __init__(
        self,
        self_attention: MultiHeadAttention,
        cross_attention: MultiHeadAttention,
        feed_forward: FeedForward,
        residual: Callable[[], Residual],
    ) -> None:
        super().__init__()
        self.self_attention = self_attention
        self.self_attention_residual = residual()
        self.cross_attention = cross_attention
        self.cross_attention_residual = residual()
        self.feed_forward = feed_forward
        self.feed_forward_residual = residual()

    def forward(
        self, x: Float[Tensor, "batch target d_model"], teacher: Teacher, need_weights: bool = False
    ) -> tuple[Float[Tensor, "batch target d_model"], Tensor | None, Tensor | None]:
        """The stream and, where asked for, the weights of self-attention and of attention over the memory."""
        mask = teacher.target_mask
        around = self.self_attention_residual
        output, self_weights = self.self_attention(
            around.enter(x, mask), mask=teacher.self_attend, causal=True, need_weights=need_weights
        )
        x = around.leave(x, output, mask)
        around = self.cross_attention_residual
        output, cross_weights = self.cross_attention(
            around.enter(x, mask),
            teacher.memory,
            teacher.cross_attend,
            need_weights=need_weights,
            positions=teacher.source_positions,
        )
        x = around.leave(x, output, mask)
        around = self.feed_forward_residual
        return around.leave(x, self.feed_forward(around.enter(x, mask)), mask), self_weights, cross_weights

    def step(
        self,
        x: Float[Tensor, "rows 1 d_model"],
        past: KeysValues,
        memory: KeysValues,
        attend: Bool[Tensor, "sentences 1 1 source"] | None,
        position: int,
        source_positions: Int[Tensor, "sentences beam"] | None,
    ) -> tuple[Float[Tensor, "rows 1 d_model"], KeysValues]:
        """One position further: the stream there, and the past with its own keys and values.

        The sequences of a sentence share its memory: they are the queries of one attention over it.
        """
        around = self.self_attention_residual
        output, past = self.self_attention.step(around.enter(x, None), past, position)
        x = around.leave(x, output, None)
        around = self.cross_attention_residual
        # [rows, 1, d_model] → [sentences, beam, d_model] and back
        beam = around.enter(x, None).view(memory.keys.size(0), -1, x.size(-1))
        output, _ = self.cross_attention.attend(self.cross_attention.queries(beam, source_positions), memory, attend)
        x = around.leave(x, output.view_as(x), None)
        around = self.feed_forward_residual
        return around.leave(x, self.feed_forward(around.enter(x, None)), None), past


class Decoder(nn.Module):
    """N layers; pre-norm needs a norm after the last one."""

    def __init__(self, layers: Sequence[DecoderLayer], final_norm: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.final_norm = final_norm

    def forward(
        self, x: Float[Tensor, "batch target d_model"], teacher: Teacher, need_weights: bool = False
    ) -> tuple[Float[Tensor, "batch target d_model"], list[Tensor], list[Tensor]]:
        """Hidden states, and each layer's weights over the target and the source (empty unless asked for)."""
        decoder, cross = [], []
        for layer in self.layers:
            x, self_weights, cross_weights = layer(x, teacher, need_weights)
            if need_weights:
                decoder.append(self_weights)
                cross.append(cross_weights)
        return self.final_norm(x, teacher.target_mask), decoder, cross

    def step(
        self,
        x: Float[Tensor, "rows 1 d_model"],
        past: tuple[KeysValues, ...],
        memory: tuple[KeysValues, ...],
        attend: Bool[Tensor, "sentences 1 1 source"] | None,
        position: int,
        source_positions: Int[Tensor, "sentences beam"] | None,
    ) -> tuple[Float[Tensor, "rows 1 d_model"], tuple[KeysValues, ...]]:
        """One position further; `past` and `memory` hold each layer's keys and values."""
        grown = []
        for layer, own, source in zip(self._layers(), past, memory, strict=True):
            x, own = layer.step(x, own, source, attend, position, source_positions)
            grown.append(own)
        return self.final_norm(x, None), tuple(grown)

    def keys_values(self, memory: Float[Tensor, "batch source d_model"]) -> tuple[KeysValues, ...]:
        """What each layer's attention over the memory needs of it, for all steps."""
        return tuple(layer.cross_attention.keys_values(memory) for layer in self._layers())

    def packs(self, longest: int, longest_source: int) -> bool:
        """Whether every layer takes sentences up to these lengths in one row."""
        return all(
            layer.self_attention.packs(longest, longest) and layer.cross_attention.packs(longest, longest_source)
            for layer in self._layers()
        )

    def _layers(self) -> list[DecoderLayer]:
        return cast("list[DecoderLayer]", list(self.layers))
