"""Groups of stacked networks, each stepped by a thread of its own: a core per group, not all cores per operation.

Small operations gain little from several cores. Two halves of an ensemble, each on one core, do: PyTorch lets go of the
interpreter lock while it computes.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from types import TracebackType
from typing import Any, Self, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from workbench.training.evaluating import Scores
from workbench.training.history import State
from workbench.training.replaying import CudaGraphs
from workbench.training.stacked_learner import Stacked
from workbench.training.stacking import Stack

WORTH = 200e6  # floating point operations per step that keep a core busy longer than the interpreter is

T = TypeVar("T")


def group_count(modules: Sequence[nn.Module], example: Tensor, batch: int, device: torch.device) -> int:
    """Into how many groups to part networks that see `batch` examples per step; the same answer every time.

    One on a GPU, and for networks that draw at random: threads would share one generator in an order of chance.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(modules) == 1:
        return 1
    model = modules[0]
    counter = FlopCounterMode(display=False)
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), counter:
            model(example[None])
    finally:
        model.train(training)
    per_step = 3 * counter.get_total_flops() * batch * len(modules)  # forward, and backward for inputs and weights
    count = max(1, min(threads, len(modules), int(per_step / WORTH)))
    return 1 if count > 1 and _draws(model, example) else count


def recording(modules: Sequence[nn.Module], loss: Any, example: Tensor, device: torch.device) -> CudaGraphs | None:
    """What records the networks' steps on a GPU; None where a step is not the same computation every time.

    Networks that draw at random are left out, and losses that do not say they are `static`: one that counts its calls,
    or takes a number out of a tensor, would be recorded with what it found at the time.
    """
    static = loss is None or (getattr(loss, "static", False) and not hasattr(loss, "logged"))
    if not static or device.type != "cuda":
        return None
    own = next(modules[0].parameters()).device  # only the stack of them has been moved
    return None if _draws(modules[0], example.to(own)) else CudaGraphs(device)


def _draws(model: nn.Module, example: Tensor) -> bool:
    """Whether the network draws random numbers in training mode; ``vmap`` tells."""
    stack = Stack([model])
    stack.template.train()
    state = {name: value.detach().clone() for name, value in stack.state.items()}
    run = torch.vmap(lambda tensors, x: torch.func.functional_call(stack.template, tensors, (x,)), randomness="error")
    try:
        with torch.no_grad():
            run(state, example[None, None].expand(1, 2, *example.shape))
    except RuntimeError as error:
        if "randomness" in str(error):
            return True
        raise
    return False


def keep_memory() -> None:
    """Make the C library hold on to freed memory instead of returning it to the system after every step.

    Stacked activations are a few MiB each. Glibc gives blocks of that size back at once until it has seen a larger one
    freed, and the page faults of asking for them again can take longer than the arithmetic. Freeing one block of the
    largest size that it learns from (32 MiB) teaches it. Other systems are not affected.
    """
    torch.empty(2**25 - 2**16, dtype=torch.uint8)


class Threads:
    """A thread per group, each with its share of PyTorch's threads; none when there is one group."""

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self._pool: ThreadPoolExecutor | None = None
        self._running: list[Future[Any]] = []

    def __enter__(self) -> Self:
        if self.groups > 1:
            threads = torch.get_num_threads()
            share = max(1, threads // self.groups)
            self._pool = ThreadPoolExecutor(self.groups, initializer=torch.set_num_threads, initargs=(share,))
            wait([self._pool.submit(int) for _ in range(self.groups)])
            torch.set_num_threads(threads)  # what a worker sets for itself is also what later threads would start with
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def map(self, function: Callable[..., T], parts: Sequence[Any], *arguments: Any) -> list[T]:
        """``function(part, *arguments)`` for every part; raises what any of them raises, after all have ended."""
        if self._pool is None:
            return [function(part, *arguments) for part in parts]
        self._running = [self._pool.submit(function, part, *arguments) for part in parts]
        self.settle()
        return [future.result() for future in self._running]

    def settle(self) -> None:
        """Wait until nothing runs."""
        wait(self._running)


class Grouped:
    """Several stacks trained side by side; see `workbench.training.loop.Learner`."""

    def __init__(self, parts: Sequence[Stacked], threads: Threads) -> None:
        self.parts = list(parts)
        self.threads = threads
        self.members = sum(part.members for part in parts)
        self.device = parts[0].device
        self.classes = parts[0].classes
        self.done = 0
        self.updating = False

    def step(self, at: int, factor: float) -> tuple[dict[str, Tensor], int]:
        self.updating = True
        results = self.threads.map(Stacked.step, self.parts, at, factor)
        self.done += 1
        self.updating = False
        if len(results) == 1:
            return results[0]
        return {name: torch.cat([means[name] for means, _ in results]) for name in results[0][0]}, results[0][1]

    def rates(self, factor: float) -> Tensor:
        return torch.cat([part.rates(factor) for part in self.parts])

    def score(self) -> Scores | None:
        found = [scores for scores in self.threads.map(Stacked.score, self.parts) if scores is not None]
        if len(found) < len(self.parts):
            return None
        return Scores(
            loss=torch.cat([one.loss for one in found]),
            accuracy=_joined([one.accuracy for one in found]),
            per_class=_joined([one.per_class for one in found]),
            logits=torch.cat([one.logits for one in found]),
            labels=torch.cat([one.labels for one in found]),
        )

    def states(self) -> list[State]:
        return [state for part in self.parts for state in part.states()]

    def capture(self) -> list[dict[str, Any]]:
        return [part.capture() for part in self.parts]

    def restore(self, captured: list[dict[str, Any]]) -> None:
        self.threads.settle()
        for part, state in zip(self.parts, captured, strict=True):
            part.restore(state)
        self.done = self.parts[0].done

    def reduce(self, sums: dict[str, Tensor], count: int) -> tuple[dict[str, Tensor], int]:
        return sums, count

    def checkpoints(self) -> list[dict[str, Any]]:
        """What `fit` would have captured of each member."""
        return [part.checkpoint_of(member) for part in self.parts for member in range(part.members)]


def _joined(tensors: list[Tensor | None]) -> Tensor | None:
    present = [tensor for tensor in tensors if tensor is not None]
    return torch.cat(present) if present else None
