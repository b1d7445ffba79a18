"""A training step of static shape as one CUDA graph: run as it is a few times, recorded, and from then on replayed.

A step of many small networks is hundreds of kernels of a few microseconds each, which take the processor longer to send
than the GPU to run. A graph is sent whole. What it reads and writes stays where it was when it was recorded, so every
call copies its batch there and the results out of there. The first calls are steps of the training like any other: they
compile, allocate, and make the optimizer's state.

How much it saves on a GPU: not measured; ``bench/kernels_gpu.py`` measures it.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from workbench.models import Outputs

__all__ = ["CudaGraphs", "Recorder", "Replayed"]

WARM = 3
"""Calls of each shape before it is recorded."""

_log = logging.getLogger("workbench.training")

Step = Callable[[Tensor, Tensor, Outputs | None], dict[str, Tensor]]


class Recorder(Protocol):
    """What records: a GPU's graphs, or in tests something that only repeats."""

    def aside(self, run: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Run once, as it will be recorded."""

    def record(self, run: Callable[[], dict[str, Tensor]]) -> tuple[Callable[[], Any], dict[str, Tensor]]:
        """A function that does what `run` does, and where it leaves what `run` returns; nothing happens yet."""


class CudaGraphs:
    """Records on a stream of its own, on which the calls before also run, as CUDA asks."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device)

    def aside(self, run: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        with torch.cuda.device(self.device):
            self.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.stream):
                out = run()
            torch.cuda.current_stream().wait_stream(self.stream)
        return out

    def record(self, run: Callable[[], dict[str, Tensor]]) -> tuple[Callable[[], Any], dict[str, Tensor]]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self.device), torch.cuda.graph(graph, stream=self.stream):
            out = run()
        return graph.replay, out


class _Recording(NamedTuple):
    inputs: list[Tensor]
    replay: Callable[[], Any]
    out: dict[str, Tensor]


class Replayed:
    """`step`, recorded once per shape of its arguments.

    A step that cannot be recorded, because it asks the GPU for a number, say, runs as it is from then on; one line in
    the log ``workbench.training`` says so.

    Parameters
    ----------
    step
        A function of inputs, labels and the guide's outputs; changes only tensors that exist already, in place.
    recorder
        How to record.
    """

    def __init__(self, step: Step, recorder: Recorder) -> None:
        self.step, self.recorder = step, recorder
        self.failed = False
        self._calls: dict[Any, int] = {}
        self._recordings: dict[Any, _Recording] = {}

    def __call__(self, inputs: Tensor, labels: Tensor, guide: Outputs | None) -> dict[str, Tensor]:
        layers = None if guide is None else tuple(guide.features)
        given = [inputs, labels, *([] if guide is None else [guide.logits, *guide.features.values()])]
        key = layers, tuple((each.shape, each.dtype) for each in given)
        recording = self._recordings.get(key)
        if recording is None:
            self._calls[key] = self._calls.get(key, 0) + 1
            if not self.failed and self._calls[key] > WARM:
                recording = self._record(key, given)
        if recording is None:
            return self.recorder.aside(lambda: self.step(inputs, labels, guide))
        for place, value in zip(recording.inputs, given, strict=True):
            place.copy_(value)
        recording.replay()
        return {name: value.clone() for name, value in recording.out.items()}

    def forget(self) -> None:
        """What was recorded holds no longer: tensors that it reads or writes have been replaced."""
        self._calls.clear()
        self._recordings.clear()

    def _record(self, key: Any, given: list[Tensor]) -> _Recording | None:
        places = [each.clone() for each in given]
        layers = key[0]
        guide = None if layers is None else Outputs(places[2], dict(zip(layers, places[3:], strict=True)))
        try:
            replay, out = self.recorder.record(lambda: self.step(places[0], places[1], guide))
        except RuntimeError as error:
            self.failed = True
            _log.warning("training steps are not replayed as CUDA graphs: %s", str(error).partition("\n")[0])
            return None
        self._recordings[key] = _Recording(places, replay, out)
        return self._recordings[key]
