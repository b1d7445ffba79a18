"""Pipelines of the `diffusers` library as denoisers: the network and the scheduler of one, behind our interface.

What comes out is a `NetworkDenoiser` like any other: it is sampled by our rules, its targets are recorded, sliders and
adapters go on it, students are distilled from it. `diffusers` itself is needed only to make or load a pipeline.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from workbench.diffusion.sampling.denoiser import NetworkDenoiser
from workbench.diffusion.sampling.schedules import RectifiedFlow, Schedule
from workbench.diffusion.teachers.schedulers import read, sampling, times

__all__ = ["PipelineNetwork", "decode", "from_diffusers", "sampling", "times"]


class PipelineNetwork(nn.Module):
    """A network of `diffusers` called as ours are: ``network(x, t)``, or with classes ``network(x, t, condition)``.

    Attributes
    ----------
    body
        The network itself.
    """

    def __init__(
        self,
        body: nn.Module,
        schedule: Schedule,
        steps: int,
        channels: int,
        told: Mapping[str, Tensor],
        untold: Mapping[str, Tensor],
        sigma_data: float | None,
        sign: float,
    ) -> None:
        super().__init__()
        self.body = body
        self._schedule, self._steps, self._channels = schedule, steps, channels
        self._sigma_data, self._sign = sigma_data, sign
        self._names = tuple(told) or tuple(untold)
        self._asks_classes = bool(told)
        for name in self._names:
            rows = [told[name]] if name in told else []
            rows += [untold[name][None]] if name in untold else []
            self.register_buffer(f"table_{name}", torch.cat(rows), persistent=False)
        self._can_be_untold = bool(untold)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """The network's output, shape of x; t has shape (n,), condition, (n,), is −1 for none."""
        extra = self._extra(len(x), condition, x.device)
        if self._sigma_data is not None:
            return self._preconditioned(x, t, extra)
        return self._run(x, self.clock(t), extra)

    def clock(self, t: Tensor) -> Tensor:
        """What the network is told of a time."""
        if isinstance(self._schedule, RectifiedFlow):
            return t * self._steps
        if self._sigma_data is not None:
            return self._schedule.sigma(t).log() / 4
        step = (t.double() * self._steps - 1).clamp_min(0)
        whole = step.round()
        return torch.where((step - whole).abs() < 1e-3, whole, step).to(t)  # float32 of a time of the table is off it

    def _preconditioned(self, x: Tensor, t: Tensor, extra: dict[str, Tensor]) -> Tensor:
        """x̂₀ of a network in the frame of EDM (Karras et al. 2022, Eq. 7)."""
        assert self._sigma_data is not None
        sigma = self._schedule.sigma(t).view(-1, *[1] * (x.ndim - 1))
        total = sigma.square() + self._sigma_data**2
        out = self._run(x / total.sqrt(), self.clock(t), extra)
        return self._sigma_data**2 / total * x + self._sign * sigma * self._sigma_data / total.sqrt() * out

    def _run(self, x: Tensor, clock: Tensor, extra: dict[str, Tensor]) -> Tensor:
        out: Tensor = self.body(x, timestep=clock, **extra, return_dict=False)[0]
        return out[:, : self._channels]  # some tell a variance too

    def _extra(self, n: int, condition: Tensor | None, device: torch.device) -> dict[str, Tensor]:
        if not self._names:
            return {}
        rows = torch.full((n,), -1, device=device) if condition is None else condition.to(device)
        if not self._can_be_untold and bool((rows < 0).any()):
            raise ValueError(
                "this network was given no way to be asked without a class: pass untold= to from_diffusers, or a class "
                "for every example and no guidance"
            )
        tables = {name: self.get_buffer(f"table_{name}") for name in self._names}
        return {name: table[torch.where(rows < 0, len(table) - 1, rows)] for name, table in tables.items()}


def from_diffusers(
    source: Any,
    scheduler: Any = None,
    *,
    shape: tuple[int, ...] | None = None,
    told: Mapping[str, Tensor] | None = None,
    untold: Mapping[str, Tensor | int] | None = None,
) -> NetworkDenoiser:
    """A denoiser from a pipeline of `diffusers`, or from a network and a scheduler.

    Parameters
    ----------
    source
        A pipeline with a ``unet`` or a ``transformer``; such a network; or the name or folder of a pretrained pipeline.
    scheduler
        Of `diffusers`; default: the pipeline's. Its table of ᾱ becomes the schedule; one for flow matching is
        `RectifiedFlow`, EDM's is `VE`. How it makes steps does not matter here: `sampling` tells.
    shape
        Of one example; default: channels and size as the network's configuration says. With a VAE these are latents;
        `decode` makes images of them.
    told
        By name of an argument of the network, what it gets for each class, shape (classes, ...), such as
        ``{"encoder_hidden_states": embeddings}`` of some prompts. Default: ``class_labels`` for a network of classes.
    untold
        What it gets for no class, which guidance needs, such as ``{"encoder_hidden_states": empty}`` or
        ``{"class_labels": 1000}``. Default: of a DiT its own; of others, none.

    Returns
    -------
    NetworkDenoiser
        Sharing its weights with `source`.

    Raises
    ------
    ValueError
        There is no network, scheduler or shape, the scheduler is of an unknown kind, or the network needs something
        that was not told.
    ImportError
        `source` is a name and `diffusers` is not installed.

    Examples
    --------
    A latent diffusion model by prompts, each a "class" here, with guidance against the empty one::

        embeddings, empty = pipeline.encode_prompt(["a cat", "a dog"], "cpu", 1, True)
        model = from_diffusers(
            pipeline, told={"encoder_hidden_states": embeddings}, untold={"encoder_hidden_states": empty[0]}
        )
        run = target_trajectories(model, noise, steps=times(pipeline.scheduler, 50), condition=prompt, guidance=7.5)
        images = decode(pipeline, run.targets[0])
    """
    pipeline = _loaded(source) if isinstance(source, str) else source
    network = next(
        (one for name in ("unet", "transformer") if (one := getattr(pipeline, name, None)) is not None), pipeline
    )
    plan = getattr(pipeline, "scheduler", None) if scheduler is None else scheduler
    if not isinstance(network, nn.Module) or not hasattr(network, "config"):
        raise ValueError(
            f"source is a {type(source).__name__}; a pipeline with a unet or transformer, or such a network, is needed"
        )
    if plan is None:
        raise ValueError(
            "scheduler is None, and source is no pipeline that has one; pass that of the network's training"
        )
    schedule, kind, sigma_data, sign = read(plan)
    sized = _shape(network) if shape is None else tuple(shape)
    classes, empty = _classes(network, told, untold)
    wrapped = PipelineNetwork(
        network, schedule, plan.config.num_train_timesteps, sized[0], classes, empty, sigma_data, sign
    )
    _complete(network, set(classes) | set(empty))
    return NetworkDenoiser(wrapped, schedule, sized, kind, len(next(iter(classes.values()), ())))


@torch.no_grad()
def decode(pipeline: Any, latents: Tensor) -> Tensor:
    """Images of a pipeline's latents, (n, 3, height, width) about −1 to 1; without a VAE, the examples themselves."""
    vae = getattr(pipeline, "vae", None)
    if vae is None:
        return latents
    scaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
    images: Tensor = vae.decode(scaled.to(next(vae.parameters())), return_dict=False)[0]
    return images


def _loaded(name: str) -> Any:
    try:
        import diffusers  # noqa: PLC0415 - optional, and slow to import
    except ImportError:
        raise ImportError(
            f"{name!r} is the name of a pipeline, which needs the package diffusers: pip install "
            "'distillation-workbench[diffusers]'"
        ) from None
    return diffusers.DiffusionPipeline.from_pretrained(name)


def _shape(network: nn.Module) -> tuple[int, ...]:
    config: Any = network.config
    channels, size = getattr(config, "in_channels", None), getattr(config, "sample_size", None)
    if channels is None or size is None:
        raise ValueError(
            "the network's configuration tells no size of an example: pass shape=(channels, height, width)"
        )
    sides = (size, size) if isinstance(size, int) else tuple(size)
    return (channels, *sides)


def _classes(
    network: nn.Module, told: Mapping[str, Tensor] | None, untold: Mapping[str, Tensor | int] | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    config: Any = network.config
    rows = dict(told or {})
    empty = {name: torch.as_tensor(value) for name, value in (untold or {}).items()}
    transformer = getattr(config, "norm_type", "") in ("ada_norm", "ada_norm_zero")
    count = getattr(config, "num_class_embeds", None) or (config.num_embeds_ada_norm if transformer else None)
    if told is None and count:
        rows = {"class_labels": torch.arange(count)}
        if untold is None and transformer:
            empty = {"class_labels": torch.tensor(count)}  # the row after the classes, for dropped labels
    if rows and empty and set(rows) != set(empty):
        raise ValueError(f"told has {', '.join(rows)}, untold {', '.join(empty)}; both must name the same arguments")
    sizes = {len(value) for value in rows.values()}
    if len(sizes) > 1:
        raise ValueError(f"told has tables of {sorted(sizes)} classes; each needs a row per class")
    return rows, empty


def _complete(network: nn.Module, given: set[str]) -> None:
    """Refuse a network that must be told what nobody does."""
    parameters = list(inspect.signature(network.forward).parameters.values())[1:]
    known = {parameter.name for parameter in parameters}
    if unknown := given - known:
        raise ValueError(
            f"{type(network).__name__} takes no argument {min(unknown)!r}; it takes {', '.join(sorted(known))}"
        )
    needed = {p.name for p in parameters if p.default is inspect.Parameter.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    if missing := needed - given - {"timestep"}:
        raise ValueError(
            f"{type(network).__name__} must be given {', '.join(sorted(missing))}: pass told= (and untold=) with a row "
            "for each class"
        )
