"""By which a later run knows a teacher again: not what it is called, but everything that it answers from."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from workbench.data.identity import module_parts, tensors_fingerprint
from workbench.diffusion.sampling.denoiser import Guided, NetworkDenoiser, Rescheduled
from workbench.diffusion.sampling.schedules import Schedule


def teacher_fingerprint(model: Any) -> str:
    """Sixteen characters that two teachers share only if they answer alike; empty for one whose inside is not known.

    A network is known by its weights and buffers, a mixture by its parts; both by their schedule, and by guidance.
    """
    try:
        return tensors_fingerprint(_parts(model))
    except _UnknownError:
        return ""


class _UnknownError(Exception):
    """A model of a kind that may hold anything."""


def _parts(model: Any) -> Iterator[Tensor | str]:
    yield type(model).__name__
    if isinstance(model, Guided):
        yield f"{model.scale!r}"
        yield from _parts(model.model)
    elif isinstance(model, Rescheduled):
        yield f"{model.schedule.spec}"
        yield from _parts(model.model)
    elif isinstance(model, nn.Module):
        if isinstance(model, NetworkDenoiser):
            yield f"{model.kind} {model.schedule.spec} {tuple(model.shape)} {model.classes}"
        yield from module_parts(model)
    elif dataclasses.is_dataclass(model):
        for field in dataclasses.fields(model):
            value = getattr(model, field.name)
            yield field.name
            yield value if isinstance(value, Tensor) else _plain(value)
    else:
        raise _UnknownError


def _plain(value: Any) -> str:
    if isinstance(value, Schedule):
        return f"{value.spec}"
    if value is None or isinstance(value, str | int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"({', '.join(map(_plain, value))})"
    raise _UnknownError
