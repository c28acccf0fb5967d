"""The Transformer (Figure 1): stacks between embeddings and projection, and its state for decoding."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heedful.model.attention import KeysValues
from heedful.model.embedding import InputEmbedding, Projection
from heedful.model.flat import FlatTransformer, flatten
from heedful.model.masks import over_heads
from heedful.model.seq2seq import AttentionRecord, Seq2Seq
from heedful.model.stacks import Decoder, Encoder, Teacher


@dataclass(frozen=True)
class TransformerMemory:
    """The encoder's output at every source position."""

    hidden: Float[Tensor, "batch source d_model"]
    mask: Bool[Tensor, "batch source"]


@dataclass(frozen=True)
class TransformerState:
    """Keys and values of every decoder layer: over the memory by sentence, over the past by sequence."""

    memory: tuple[KeysValues, ...]
    attend: Bool[Tensor, "sentences 1 1 source"]
    past: tuple[KeysValues, ...]
    position: int
    """Of the next token; the past may hold fewer, where self-attention is restricted."""

    def reorder(self, rows: Int[Tensor, " rows"]) -> "TransformerState":
        """The memory stays: a sequence continues one of the same sentence."""
        return replace(self, past=tuple(layer.pick(rows) for layer in self.past))

    def select(self, sentences: Int[Tensor, " kept"]) -> "TransformerState":
        """Keeps these sentences, with all their sequences."""
        beam = self.past[0].keys.size(0) // self.attend.size(0)
        # [kept, 1] * beam + [beam] → [kept * beam]
        rows = (sentences.unsqueeze(1) * beam + torch.arange(beam, device=sentences.device)).flatten()
        return replace(
            self,
            memory=tuple(layer.pick(sentences) for layer in self.memory),
            attend=self.attend.index_select(0, sentences),
            past=tuple(layer.pick(rows) for layer in self.past),
        )


class Transformer(Seq2Seq[TransformerMemory, TransformerState]):
    """ "Attention Is All You Need" (Vaswani et al. 2017). Sharing weights is the builder's business."""

    def __init__(
        self,
        source_input: InputEmbedding,
        target_input: InputEmbedding,
        encoder: Encoder,
        decoder: Decoder,
        projection: Projection,
    ) -> None:
        super().__init__()
        self.source_input = source_input
        self.target_input = target_input
        self.encoder = encoder
        self.decoder = decoder
        self.projection = projection

    def encode(
        self, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"]
    ) -> TransformerMemory:
        """Reads the source, EOS included."""
        hidden, _ = self.encoder(self.source_input(source), source_mask, over_heads(source_mask))
        return TransformerMemory(hidden, source_mask)

    def decode(
        self,
        memory: TransformerMemory,
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target d_model"]:
        """Hidden states under teacher forcing. Padding stands at the end, where no real token looks."""
        teacher = Teacher(memory.hidden, target_mask, None, over_heads(memory.mask))
        hidden: Tensor = self.decoder(self.target_input(target), teacher)[0]
        return hidden

    def start(self, memory: TransformerMemory, beam: int = 1) -> TransformerState:
        """Keys and values of the memory are made here, once for a sentence."""
        keys_values = self.decoder.keys_values(memory.hidden)
        rows = memory.hidden.size(0) * beam
        past = tuple(KeysValues(*(x.new_empty(rows, x.size(1), 0, x.size(3)) for x in kv)) for kv in keys_values)
        return TransformerState(keys_values, over_heads(memory.mask), past, position=0)

    def step(
        self, tokens: Int[Tensor, " rows"], state: TransformerState
    ) -> tuple[Float[Tensor, "rows vocab"], TransformerState]:
        """Logits after one token more. In evaluation mode the same as `decode`'s to rounding."""
        x: Tensor = self.target_input(tokens.unsqueeze(1), state.position)
        x, past = self.decoder.step(x, state.past, state.memory, state.attend)
        return self.project(x.squeeze(1)), replace(state, past=past, position=state.position + 1)

    def attention(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> AttentionRecord:
        """The weights of `decode`; a padded target position, whose hidden state nobody reads, sees real ones."""
        attend = over_heads(source_mask)
        hidden, encoder = self.encoder(self.source_input(source), source_mask, attend, need_weights=True)
        teacher = Teacher(hidden, target_mask, over_heads(target_mask), attend)
        _, decoder, cross = self.decoder(self.target_input(target), teacher, need_weights=True)
        return AttentionRecord(encoder, decoder, cross)

    def flat(self) -> FlatTransformer | None:
        """Its weights as they are; None for the variants that `flatten` names."""
        return flatten(self)
