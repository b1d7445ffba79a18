"""Training one network in several processes: under ``torchrun``, `fit` shares each batch out and averages gradients."""

import atexit
import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """The processes that train together: this one's rank and how many there are."""

    rank: int = 0
    size: int = 1

    def part(self, total: int) -> slice:
        """This process's part of a batch of `total` examples; parts differ by at most one example."""
        return slice(self.rank * total // self.size, (self.rank + 1) * total // self.size)

    def add(self, sums: dict[str, Tensor], count: int) -> tuple[dict[str, Tensor], int]:
        """Sums and counts of all processes, the same in each."""
        if self.size == 1 or not sums:
            return sums, count
        names = sorted(sums)
        device = sums[names[0]].device
        packed = torch.stack([*(sums[name].sum() for name in names), torch.tensor(float(count), device=device)])
        dist.all_reduce(packed)
        values = packed.unbind()
        return {name: value.view(1) for name, value in zip(names, values[:-1], strict=True)}, int(values[-1])

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether `flag` is set in any process."""
        if self.size == 1:
            return flag
        votes = torch.tensor(float(flag), device=device)
        dist.all_reduce(votes)
        return bool(votes > 0)


def launched() -> bool:
    """Whether this process is one of several that ``torchrun`` started."""
    return dist.is_available() and int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def world() -> World:
    """The processes at hand; joins them on the first call under ``torchrun`` (nccl on GPUs, gloo on CPUs)."""
    if not launched():
        return World()
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(_leave)
    return World(dist.get_rank(), dist.get_world_size())


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def wrap(module: nn.Module, these: World) -> nn.Module:
    """The module with its gradients averaged over the processes; unchanged when there is only one."""
    if these.size == 1:
        return module
    # static_graph lets parameters without a gradient (a head that a hint does not reach) be.
    return DistributedDataParallel(module, static_graph=True)


def pick(device: str | torch.device) -> torch.device:
    """``"auto"``: a GPU if there is one (under ``torchrun``, this process's own), else the CPU.

    Raises
    ------
    ValueError
        There is no such device.
    """
    if device != "auto":
        try:
            chosen = torch.device(device)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"device is {device!r}; it can be 'auto', 'cpu', 'cuda' or 'cuda:1'") from error
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device is {device!r}, but this machine has no usable GPU: use 'auto' or 'cpu'")
        return chosen
    if torch.cuda.is_available():
        return torch.device(
            "cuda", int(os.environ.get("LOCAL_RANK", "0")) if launched() else torch.cuda.current_device()
        )
    return torch.device("cpu")
