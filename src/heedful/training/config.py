"""How a model is trained. Imports no torch."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Count = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=1024)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class TrainingConfig:
    """Section 5; the defaults are the paper's."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Seed of weights, dropout and data order."""
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    """Adam (Section 5.3), Adam with decoupled weight decay, or Muon for the stacks' matrices (Jordan et al. 2024)."""
    momentum: Share = 0.95
    """Decay of Muon's momentum; embeddings, projection and vectors have Adam's."""
    beta1: Share = 0.9
    """Decay of Adam's first moment."""
    beta2: Share = 0.98
    """Decay of Adam's second moment."""
    adam_epsilon: Positive = 1e-9
    """Adam's ε."""
    weight_decay: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """Decoupled weight decay; adamw and muon only."""
    schedule: Literal["paper", "inverse-sqrt", "cosine"] = "paper"
    """paper: d_model^-0.5 · min(step^-0.5, step · warmup_steps^-1.5) times lr; others rise to lr, then fall."""
    lr: Positive = 1.0
    """Peak learning rate; with the paper's schedule a factor on it."""
    warmup_steps: Count = 4000
    """Steps of linear warm-up."""
    decay_steps: Count | None = None
    """Step at which the cosine schedule reaches zero; max_steps unless given."""
    hold: Share = 0.0
    """Share of the cosine's steps after warm-up that keep the peak rate before it falls (Hu et al. 2024)."""
    label_smoothing: Share = 0.1
    """ε_ls, spread evenly over all classes (Section 5.4)."""
    consistency: Annotated[float, Field(ge=0.0, allow_inf_nan=False)] = 0.0
    """R-Drop's α (Liang et al. 2021): every sentence passes twice, and the two predictions are to agree; 0 is off."""
    consistency_after: Annotated[int, Field(ge=0)] = 0
    """Updates before consistency counts: predictions agree on little at first, and each costs two passes."""
    clip_norm: Annotated[float, Field(ge=0.0)] = 0.0
    """Largest gradient norm; 0 is off."""
    accumulate: Count = 1
    """Batches whose gradients make one update."""
    device_tokens: Count | None = None
    """Most tokens a device computes at once, padding included; more are computed in parts, to the same gradient."""
    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Arithmetic of products and activations; weights stay float32. auto: bfloat16 where the device has it built in."""
    ema_decay: Share = 0.0
    """Exponential moving average of the weights, which is then validated and saved; 0 is off."""
    validate_every: Count = 1000
    """Updates between validations; each writes a checkpoint."""
    validate_beam_size: Count = 1
    """Beam of the BLEU, or the F1, measured during training."""
    keep_last: Count = 5
    """Newest checkpoints kept, of those at multiples of validate_every and the last."""
    keep_best: Count = 3
    """Checkpoints of the best validation BLEU or F1 kept."""
    average_last: Count = 1
    """Checkpoints at the end of training whose mean is its result (Section 6.1); 1 is off."""
    log_every: Count = 50
    """Updates between two records of the training loss."""
    max_steps: Count | None = None
    """Stop after so many updates."""
    max_epochs: Count | None = None
    """Stop after so many passes over the data."""
    max_minutes: Positive | None = None
    """Stop after so many minutes, interruptions not counted."""
    patience: Count | None = None
    """Stop after so many validations without a better BLEU or F1."""
    device: str = "auto"
    """cpu, cuda, cuda:N; auto takes a GPU where there is one."""
    cuda_graphs: bool = True
    """On one GPU, updates are recorded and replayed: a Transformer's as a whole, else the optimiser's step."""
    threads: Threads | None = None
    """CPU threads; all cores unless given."""

    @property
    def passes(self) -> int:
        """How often an update computes each pair at most: twice, and both at once, where consistency is trained."""
        return 2 if self.consistency else 1

    def consistency_at(self, step: int) -> float:
        """α of the update that follows `step` others."""
        return self.consistency if step >= self.consistency_after else 0.0

    def passes_before(self, step: int) -> int:
        """How often the updates before `step` compute each of their pairs, all together."""
        return step + (self.passes - 1) * max(0, step - self.consistency_after)
