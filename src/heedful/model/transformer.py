"""The Transformer (Figure 1): stacks between embeddings and projection, and its state for decoding."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from heedful.kernels.sentences import Ragged, Sentences
from heedful.model.attention import KeysValues
from heedful.model.deterministic import DeterministicAttention, ParserState, Words
from heedful.model.embedding import InputEmbedding, Projection
from heedful.model.flat import FlatTransformer, flatten
from heedful.model.masks import over_heads
from heedful.model.packing import Packing
from heedful.model.seq2seq import AttentionRecord, Seq2Seq
from heedful.model.stacks import Decoder, Encoder, Teacher


@dataclass(frozen=True)
class TransformerMemory:
    """The encoder's output at every source position."""

    hidden: Float[Tensor, "batch source d_model"]
    mask: Bool[Tensor, "batch source"]
    words: Words | None
    """For deterministic attention."""


@dataclass(frozen=True)
class TransformerState:
    """Keys and values of every decoder layer: over the memory by sentence, over the past by sequence.

    With deterministic attention also the words by sentence, and by sequence where its parser is.
    """

    memory: tuple[KeysValues, ...]
    attend: Bool[Tensor, "sentences 1 1 source"]
    past: tuple[KeysValues, ...]
    position: int
    """Of the next token; the past may hold fewer, where self-attention is restricted."""
    words: Words | None
    parser: ParserState | None

    def reorder(self, rows: Int[Tensor, " rows"]) -> "TransformerState":
        """The memory stays: a sequence continues one of the same sentence."""
        return replace(
            self,
            past=tuple(layer.pick(rows) for layer in self.past),
            parser=self.parser and self.parser.pick(rows),
        )

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
            words=self.words and self.words.pick(sentences),
            parser=self.parser and self.parser.pick(rows),
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
        deterministic_attention: DeterministicAttention | None = None,
    ) -> None:
        super().__init__()
        self.source_input = source_input
        self.target_input = target_input
        self.encoder = encoder
        self.decoder = decoder
        self.projection = projection
        self.deterministic_attention = deterministic_attention

    def encode(
        self, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"]
    ) -> TransformerMemory:
        """Reads the source, EOS included."""
        hidden, _ = self.encoder(self.source_input(source), source_mask, over_heads(source_mask))
        return TransformerMemory(hidden, source_mask, self._words(source, source_mask, hidden))

    def decode(
        self,
        memory: TransformerMemory,
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target d_model"]:
        """Hidden states under teacher forcing. Padding stands at the end, where no real token looks."""
        x, positions = self._target_input(target, memory.words)
        teacher = Teacher(memory.hidden, target_mask, None, over_heads(memory.mask), positions)
        hidden: Tensor = self.decoder(x, teacher)[0]
        return hidden

    def real_states(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
        places: Int[Tensor, " tokens"],
    ) -> Float[Tensor, "tokens d_model"]:
        """`forward`'s states at the target's real tokens; where attention allows, padding is not computed at all."""
        # a GPU would have to wait until it is known how many tokens there are
        if source.is_cuda or not self.packs(source.size(1), target.size(1)):
            return super().real_states(source, source_mask, target, target_mask, places)
        read, written = Packing.of(source_mask), Packing.of(target_mask)
        memory = self._row_memory(read.pack(source), read.sentences)
        shown, positions = None, None
        if self.deterministic_attention is not None:
            words = self.deterministic_attention.words(source, source_mask, read.unpack(memory, source_mask))
            shown, positions = map(written.pack, self.deterministic_attention(target, words))
        x = self.target_input(written.pack(target), written.sentences, shown)
        return self._row_states(x, memory, Ragged(written.sentences, read.sentences), positions)

    def packs(self, source: int, target: int) -> bool:
        """Whether sentences up to these lengths can stand in a row, without padding."""
        return self.encoder.packs(source) and self.decoder.packs(target, source)

    def row_states(
        self,
        source: Int[Tensor, "1 source"],
        target: Int[Tensor, "1 target"],
        sentences: Ragged,
    ) -> Float[Tensor, "target d_model"]:
        """`forward`'s states of sentences in a row on either side, for models that pack and parse nothing."""
        memory = self._row_memory(source, sentences.keys)
        return self._row_states(self.target_input(target, sentences.queries), memory, sentences, None)

    def start(self, memory: TransformerMemory, beam: int = 1) -> TransformerState:
        """Keys and values of the memory are made here, once for a sentence."""
        keys_values = self.decoder.keys_values(memory.hidden)
        rows = memory.hidden.size(0) * beam
        past = tuple(KeysValues(*(x.new_empty(rows, x.size(1), 0, x.size(3)) for x in kv)) for kv in keys_values)
        parser = None if self.deterministic_attention is None else self.deterministic_attention.start(rows)
        return TransformerState(keys_values, over_heads(memory.mask), past, 0, memory.words, parser)

    def step(
        self, tokens: Int[Tensor, " rows"], state: TransformerState
    ) -> tuple[Float[Tensor, "rows vocab"], TransformerState]:
        """Logits after one token more. In evaluation mode the same as `decode`'s to rounding."""
        beside, positions, parser = None, None, state.parser
        if self.deterministic_attention is not None and parser is not None and state.words is not None:
            parser = self.deterministic_attention.advance(tokens, parser)
            shown, positions = self.deterministic_attention.place(parser, state.words)
            beside = shown.flatten(0, 1).unsqueeze(1)
        x: Tensor = self.target_input(tokens.unsqueeze(1), state.position, beside)
        x, past = self.decoder.step(x, state.past, state.memory, state.attend, state.position, positions)
        return self.project(x.squeeze(1)), replace(state, past=past, position=state.position + 1, parser=parser)

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
        words = self._words(source, source_mask, hidden)
        x, positions = self._target_input(target, words)
        teacher = Teacher(hidden, target_mask, over_heads(target_mask), attend, positions)
        _, decoder, cross = self.decoder(x, teacher, need_weights=True)
        return AttentionRecord(encoder, decoder, cross)

    def flat(self) -> FlatTransformer | None:
        """Its weights as they are; None for the variants that `flatten` names."""
        return flatten(self)

    def _row_memory(self, source: Tensor, sentences: Sentences) -> Tensor:
        x: Tensor = self.source_input(source, sentences)
        memory: Tensor = self.encoder(x, None, Ragged(sentences, sentences))[0]
        return memory

    def _row_states(self, x: Tensor, memory: Tensor, sentences: Ragged, positions: Tensor | None) -> Tensor:
        own = Ragged(sentences.queries, sentences.queries)
        hidden: Tensor = self.decoder(x, Teacher(memory, None, own, sentences, positions))[0]
        return hidden.squeeze(0)

    def _words(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        hidden: Float[Tensor, "batch source d_model"],
    ) -> Words | None:
        shown = self.deterministic_attention
        return None if shown is None else shown.words(source, source_mask, hidden)

    def _target_input(
        self, target: Int[Tensor, "batch target"], words: Words | None
    ) -> tuple[Float[Tensor, "batch target d_model"], Int[Tensor, "batch target"] | None]:
        """And where in the source each position stands, if it is known."""
        deterministic = self.deterministic_attention
        shown, positions = deterministic(target, words) if deterministic is not None and words else (None, None)
        return self.target_input(target, 0, shown), positions
