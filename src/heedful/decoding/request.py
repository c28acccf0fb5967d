"""What one call of `translate` asks for: the search's fields, and those that only a call has. Imports no torch."""

import difflib
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from heedful.decoding.config import SearchConfig
from heedful.errors import HeedfulError

Precision = Literal["float32", "bfloat16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class Request(SearchConfig):
    """Search, or sampling where `sample` is true."""

    n_best: Annotated[int, Field(ge=1)] = 1
    """Hypotheses of each sentence, best first; with `sample`, so many draws. The beam is as wide unless it is given."""
    precision: Precision = "float32"
    """Of the factors in products of matrices; sums, norms and softmaxes are float32."""
    sample: bool = False
    """Draw every token at random instead of searching."""
    temperature: Annotated[float, Field(gt=0.0, allow_inf_nan=False)] = 1.0
    """Divides the log-probabilities that are drawn from; below 1 sharpens."""
    top_k: Annotated[int, Field(ge=1)] | None = None
    """Draw among so many most probable tokens."""
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Draw among the fewest most probable tokens that together have this probability."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Same seed, same draws."""

    @classmethod
    def of(cls, search: SearchConfig, options: Mapping[str, Any]) -> "Request":
        """A model's own settings with some of them changed; None leaves one, and text is read as flags are.

        Raises `HeedfulError` for an option that does not exist, does not fit, or would have no effect.
        """
        given = {name: value for name, value in options.items() if value is not None}
        known = [each.name for each in fields(cls)]
        for name in given:
            if name not in known:
                near = difflib.get_close_matches(name, known, 1, 0.0)[0]
                raise HeedfulError(f"unknown option {_flag(name)}; the nearest is {_flag(near)}")
        values = asdict(search) | given
        try:
            request = TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            item = error.errors()[0]
            name, message = str(item["loc"][0]), item["msg"]
            raise HeedfulError(
                f"{_flag(name)} cannot be {values[name]!r}: {message[0].lower()}{message[1:]}"
            ) from error
        if "beam_size" not in given and request.n_best > request.beam_size:
            request = replace(request, beam_size=request.n_best)
        request._check()
        return request

    def _check(self) -> None:
        if self.sample:
            return
        if self.n_best > self.beam_size:
            raise HeedfulError(
                f"n-best {self.n_best} needs a beam of that size, it is {self.beam_size}; give beam-size {self.n_best}"
            )
        for name, idle in (("temperature", 1.0), ("top_k", None), ("top_p", None)):
            if getattr(self, name) != idle:
                raise HeedfulError(f"{_flag(name)} is for sampling; give sample with it, or leave it out")


def _flag(name: str) -> str:
    return name.replace("_", "-")
