"""RNN Seq2Seq: the lecture's first part, without attention (a fixed-length bottleneck) and with it.

The attention is the lecture's and Luong's: the decoder's hidden state asks, the context vector joins it before
the projection.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from heedful.model.attention import Attention
from heedful.model.dropout import Dropout
from heedful.model.embedding import Projection, TokenEmbedding
from heedful.model.linear import Linear
from heedful.model.seq2seq import AttentionRecord, Seq2Seq

Hidden = tuple[Float[Tensor, "layers batch d_model"], ...]
"""A recurrent network's state: (h,) of a GRU, (h, c) of an LSTM."""


@dataclass(frozen=True)
class Annotations:
    """Every hidden state of the encoder, hs, for a decoder with attention; `keys` is the score's part of it."""

    hs: Float[Tensor, "batch source d_model"]
    keys: Float[Tensor, "batch source d_keys"]
    mask: Bool[Tensor, "batch source"]

    def select(self, sentences: Int[Tensor, " kept"]) -> "Annotations":
        """Keeps these sentences."""
        return replace(
            self,
            hs=self.hs.index_select(0, sentences),
            keys=self.keys.index_select(0, sentences),
            mask=self.mask.index_select(0, sentences),
        )


@dataclass(frozen=True)
class RecurrentMemory:
    """The encoder's final states, and nothing else where the decoder has no attention."""

    final: Hidden
    annotations: Annotations | None


@dataclass(frozen=True)
class RecurrentState:
    """The decoder's hidden states by sequence, the encoder's by sentence.

    `attentional` is the last attentional vector, for input feeding; None without it.
    """

    hidden: Hidden
    attentional: Float[Tensor, "rows d_model"] | None
    annotations: Annotations | None
    beam: int

    def reorder(self, rows: Int[Tensor, " rows"]) -> "RecurrentState":
        """hs stay: a sequence continues one of the same sentence."""
        return replace(
            self,
            hidden=tuple(x.index_select(1, rows) for x in self.hidden),
            attentional=None if self.attentional is None else self.attentional.index_select(0, rows),
        )

    def select(self, sentences: Int[Tensor, " kept"]) -> "RecurrentState":
        """Keeps these sentences, with all their sequences."""
        # [kept, 1] * beam + [beam] → [kept * beam]
        first = sentences.unsqueeze(1) * self.beam
        rows = (first + torch.arange(self.beam, device=sentences.device)).flatten()
        kept = None if self.annotations is None else self.annotations.select(sentences)
        return replace(self.reorder(rows), annotations=kept)


def _run(network: nn.LSTM | nn.GRU, x: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
    """One interface for both cells: a GRU's state is a tensor, an LSTM's a pair."""
    output, final = network(x, hidden if isinstance(network, nn.LSTM) else hidden[0])
    return output, final if isinstance(network, nn.LSTM) else (final,)


class RecurrentEncoder(nn.Module):
    """Reads the source, in one direction or in both; padding is never read."""

    def __init__(self, tokens: TokenEmbedding, network: nn.LSTM | nn.GRU, dropout: Dropout) -> None:
        super().__init__()
        self.tokens = tokens
        self.network = network
        self.dropout = dropout

    def forward(
        self, source: Int[Tensor, "batch source"], mask: Bool[Tensor, "batch source"]
    ) -> tuple[Float[Tensor, "batch source d_model"], Hidden]:
        """hs, and every layer's state after the last real token; the two directions lie side by side."""
        lengths = mask.sum(1).clamp(min=1).cpu()
        packed = pack_padded_sequence(
            self.dropout(self.tokens(source)), lengths, batch_first=True, enforce_sorted=False
        )
        output, final = self.network(packed)
        hs, _ = pad_packed_sequence(output, batch_first=True, total_length=source.size(1))
        states = final if isinstance(self.network, nn.LSTM) else (final,)
        return hs, tuple(self._join(state) for state in states)

    def _join(self, state: Tensor) -> Tensor:
        # [layers * directions, batch, width] → [layers, batch, directions * width]
        by_layer = state.view(self.network.num_layers, -1, state.size(1), state.size(2))
        return by_layer.transpose(1, 2).flatten(2)


class RecurrentDecoder(nn.Module):
    """A recurrent network that starts from the encoder's final states, with attention or without.

    With it, the attentional vector tanh(W[c; h]) takes the hidden state's place (Luong et al. 2015, equation 5);
    under input feeding it also joins the next token's embedding (their Section 3.3).
    """

    def __init__(
        self,
        tokens: TokenEmbedding,
        network: nn.LSTM | nn.GRU,
        attention: Attention | None,
        input_feeding: bool,
        dropout: Dropout,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.network = network
        self.attention = attention
        self.input_feeding = input_feeding
        self.dropout = dropout
        d_model = network.hidden_size
        self.join = None if attention is None else Linear(2 * d_model, d_model, bias=False)

    def start(self, memory: RecurrentMemory, beam: int) -> RecurrentState:
        """The state before BOS; the first attentional vector is zero."""
        hidden = tuple(x.repeat_interleave(beam, dim=1) for x in memory.final)
        attentional = torch.zeros_like(hidden[0][-1]) if self.input_feeding else None
        return RecurrentState(hidden, attentional, memory.annotations, beam)

    def forward(
        self, target: Int[Tensor, "rows target"], state: RecurrentState
    ) -> tuple[Float[Tensor, "rows target d_model"], Tensor | None, RecurrentState]:
        """Hidden states before the projection, the weights a, and the state after the last token."""
        x: Tensor = self.dropout(self.tokens(target))
        # Without input feeding no position waits for the one before: the whole target is one call.
        outputs, weights = [], []
        for piece in torch.split(x, 1, dim=1) if self.input_feeding else (x,):
            output, a, state = self._advance(piece, state)
            outputs.append(output)
            weights.append(a)
        output = self.dropout(torch.cat(outputs, dim=1))
        return output, None if self.attention is None else torch.cat(weights, dim=1), state

    def _advance(self, x: Tensor, state: RecurrentState) -> tuple[Tensor, Tensor, RecurrentState]:
        if state.attentional is not None:
            x = torch.cat((x, state.attentional.unsqueeze(1)), dim=-1)
        h, hidden = _run(self.network, x, state.hidden)
        state = replace(state, hidden=hidden)
        if self.attention is None or self.join is None or state.annotations is None:
            return h, h[..., :0], state
        source = state.annotations
        # [sentences * beam, target, d_model] → [sentences, beam * target, d_model]: they ask the same hs
        queries = h.reshape(len(source.hs), -1, h.size(-1))
        c, a = self.attention(source.hs, queries, source.mask, source.keys)
        attentional = torch.tanh(self.join(torch.cat((c.view_as(h), h), dim=-1)))
        if self.input_feeding:
            state = replace(state, attentional=attentional[:, -1])
        return attentional, a.view(h.size(0), h.size(1), -1), state


class RecurrentSeq2Seq(Seq2Seq[RecurrentMemory, RecurrentState]):
    """Encoder and decoder of one cell (Sutskever et al. 2014; with attention, Luong et al. 2015)."""

    def __init__(self, encoder: RecurrentEncoder, decoder: RecurrentDecoder, projection: Projection) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.projection = projection

    def encode(self, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"]) -> RecurrentMemory:
        """Final states; hs as well if the decoder has attention."""
        hs, final = self.encoder(source, source_mask)
        if self.decoder.attention is None:
            return RecurrentMemory(final, None)
        keys = self.decoder.attention.attention_weight.score.keys(hs)
        return RecurrentMemory(final, Annotations(hs, keys, source_mask))

    def decode(
        self,
        memory: RecurrentMemory,
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> Float[Tensor, "batch target d_model"]:
        """Hidden states under teacher forcing; padding stands at the end, after everything that counts."""
        hidden: Tensor = self.decoder(target, self.decoder.start(memory, beam=1))[0]
        return hidden

    def start(self, memory: RecurrentMemory, beam: int = 1) -> RecurrentState:
        """The encoder's final states, for every sequence."""
        return self.decoder.start(memory, beam)

    def step(
        self, tokens: Int[Tensor, " rows"], state: RecurrentState
    ) -> tuple[Float[Tensor, "rows vocab"], RecurrentState]:
        """Logits after one token more."""
        hidden, _, state = self.decoder(tokens.unsqueeze(1), state)
        return self.project(hidden.squeeze(1)), state

    def attention(
        self,
        source: Int[Tensor, "batch source"],
        source_mask: Bool[Tensor, "batch source"],
        target: Int[Tensor, "batch target"],
        target_mask: Bool[Tensor, "batch target"],
    ) -> AttentionRecord:
        """One layer of one head over the source, or nothing at all."""
        memory = self.encode(source, source_mask)
        _, a, _ = self.decoder(target, self.decoder.start(memory, beam=1))
        return AttentionRecord(None, None, None if a is None else [a.unsqueeze(1)])
