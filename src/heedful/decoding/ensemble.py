"""What the search steps: one model, or several whose probabilities are averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from heedful.decoding.search import S, Step
from heedful.model.seq2seq import Seq2Seq, State


@dataclass(frozen=True)
class EnsembleState:
    """The states of all members, which move together."""

    states: tuple[State, ...]

    def reorder(self, rows: Tensor) -> "EnsembleState":
        """Of every member; rows [rows]."""
        return EnsembleState(tuple(state.reorder(rows) for state in self.states))

    def select(self, sentences: Tensor) -> "EnsembleState":
        """Of every member; sentences [kept]."""
        return EnsembleState(tuple(state.select(sentences) for state in self.states))


def model_step(model: Seq2Seq[Any, S]) -> Step[S]:
    """A model's step, with natural-log probabilities in float32."""

    def step(tokens: Tensor, state: S) -> tuple[Tensor, S]:
        logits, state = model.step(tokens, state)
        return logits.float().log_softmax(-1), state

    return step


def ensemble_step(steps: Sequence[Step[Any]]) -> Step[EnsembleState]:
    """The mean of the members' probabilities."""

    def step(tokens: Tensor, state: EnsembleState) -> tuple[Tensor, EnsembleState]:
        results = [member(tokens, own) for member, own in zip(steps, state.states, strict=True)]
        mean = mean_probability([log_probs for log_probs, _ in results])
        return mean, EnsembleState(tuple(own for _, own in results))

    return step


def mean_probability(log_probs: Sequence[Tensor]) -> Tensor:
    """log(mean(exp(log_probs))) over the members."""
    return log_probs[0] if len(log_probs) == 1 else torch.stack(list(log_probs)).logsumexp(0) - math.log(len(log_probs))
