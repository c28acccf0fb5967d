"""Which engine answers a call: the compiled one where it can, otherwise none, and the plain path is taken."""

import logging
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from heedful.decoding.native.engine import Engine
from heedful.decoding.native.library import library
from heedful.decoding.request import Request
from heedful.model.seq2seq import Seq2Seq

logger = logging.getLogger("heedful")


class Engines:
    """The engines of a translator, one for each precision, made when first wanted and anew once weights change."""

    def __init__(
        self,
        models: Sequence[Seq2Seq[Any, Any]],
        *,
        bos: int,
        eos: int,
        bans: Sequence[int],
        filtered: bool = False,
    ) -> None:
        """`filtered` says that there are filters besides, of which the compiled engine knows none."""
        self._models, self._tokens, self._filtered = models, {"bos": bos, "eos": eos, "bans": bans}, filtered
        self._made: dict[str, Engine | None] = {}
        self._state: list[tuple[int, int, int]] = []
        self._told = False

    def serving(self, request: Request) -> Engine | None:
        """None where the plain path has to be taken; if that means float32 instead of int8, it is said once."""
        plain = request.sample or len(self._models) > 1 or self._filtered
        engine = None if plain else self._of(request.precision)
        if engine is None and request.precision == "int8" and not self._told:
            self._told = True
            logger.warning("int8 is for the compiled engine, which cannot be had here: float32 is taken instead")
        return engine

    def _of(self, precision: str) -> Engine | None:
        state = [_identity(weight) for model in self._models for weight in model.parameters()]
        if state != self._state:
            self._made, self._state = {}, state
        if precision not in self._made:
            self._made[precision] = self._make(precision)
        return self._made[precision]

    def _make(self, precision: str) -> Engine | None:
        [model] = self._models
        flat = model.flat() if model.device.type == "cpu" else None
        if flat is None or library() is None:
            return None
        return Engine(flat, precision, **self._tokens)  # type: ignore[arg-type]


def _identity(weight: Tensor) -> tuple[int, int, int]:
    """Another one once the weight is replaced or written to; an inference tensor cannot be written to."""
    return id(weight), weight.data_ptr(), 0 if weight.is_inference() else weight._version
