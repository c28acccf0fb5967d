"""What kinds of GPU can do, from their maker's data sheets. Imports no torch."""

import difflib
from dataclasses import dataclass

from heedful.errors import HeedfulError


@dataclass(frozen=True)
class Gpu:
    """Peak figures of a kind: dense, without sparsity, in TFLOPS; memory in GB."""

    name: str
    memory: int
    float32: float
    bfloat16: float | None
    """Of tensor cores; None where they do not know it."""
    source: str

    def peak(self, precision: str) -> float:
        """FLOPs per second; float32's where the precision is not known."""
        return 1e12 * ((self.bfloat16 if precision == "bfloat16" else None) or self.float32)


GPUS = (
    Gpu("P100", 16, 10.6, None, "NVIDIA Tesla P100 data sheet, NVLink version"),
    Gpu("V100", 32, 15.7, None, "NVIDIA V100 data sheet, SXM2; its tensor cores know float16 alone"),
    Gpu("A100", 80, 19.5, 312.0, "NVIDIA A100 80GB data sheet, SXM"),
    Gpu("H100", 80, 67.0, 989.0, "NVIDIA H100 data sheet, SXM; half of the figure with sparsity"),
    Gpu("H200", 141, 67.0, 989.0, "NVIDIA H200 data sheet, SXM; half of the figure with sparsity"),
)
UTILISATION = 0.30
"""Share of the peak that training is assumed to reach. The paper's times are 26 % (base) and 37 % (big) of eight
P100's float32 peak by the analytic count; NVIDIA's own Transformer-big reaches 33 % of one A100, 28 % of eight."""


SECONDS_AN_UPDATE = 5e-3
"""Of a small model, whose kernels end sooner than they are launched: `tiny` on one H100, docs/performance.md."""


def gpu(name: str) -> Gpu:
    """The kind of that name. Raises `HeedfulError` naming the nearest."""
    by_name = {known.name: known for known in GPUS}
    if name.upper() not in by_name:
        near = difflib.get_close_matches(name.upper(), by_name, 1, 0.0)[0]
        raise HeedfulError(f"unknown GPU {name}; the nearest is {near}, known are {', '.join(by_name)}")
    return by_name[name.upper()]
