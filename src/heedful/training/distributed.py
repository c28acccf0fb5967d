"""One process or many under torchrun: torch.distributed does the work, gloo on CPU and nccl on GPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from heedful.model.build import device_named


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Joins the processes that torchrun started; does nothing without it."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    # while rank 0 encodes or validates, the others wait longer than the usual half hour if need be
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(days=1))
    try:
        yield
        dist.barrier()  # none leaves while another still listens to it
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """This process's number, before and after the group too; 0 is the one that writes and tells."""
    return dist.get_rank() if dist.is_initialized() else int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def wait() -> None:
    """Until every process is here."""
    if dist.is_initialized():
        dist.barrier()


def total(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of every process's tensor, in place."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def most(value: float, device: torch.device) -> float:
    """The greatest of every process's values, everywhere."""
    if not dist.is_initialized():
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return float(tensor)


def from_first(value: float, device: torch.device) -> float:
    """Rank 0's value, everywhere."""
    if not dist.is_initialized():
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(tensor, 0)
    return float(tensor)


def choose_device(name: str) -> torch.device:
    """`device_named`; under torchrun each process takes its own GPU."""
    device = device_named(name)
    if device == torch.device("cuda") and "LOCAL_RANK" in os.environ:
        return device_named(f"cuda:{os.environ['LOCAL_RANK']}")
    return device
