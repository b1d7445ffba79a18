"""A network that takes the *initial* noise: it says where the teacher's trajectory from there is at any time (BOOT)."""

from torch import Tensor

from workbench.diffusion.sampling.denoiser import NetworkDenoiser
from workbench.diffusion.sampling.predictions import Prediction
from workbench.diffusion.sampling.schedules import along

EARLIEST = 1e-3
"""The time at which it is asked for the end of a trajectory: division by σ is still safe."""


class SignalDenoiser(NetworkDenoiser):
    """y_θ(ε, t), the signal part of the state: x_t = α_t y_θ(ε, t) + σ_t ε (paper 031).

    Its `kind` says how y is read from the network's output: ``"signal"``, as it is; ``"signal velocity"``, ε minus it,
    so that a network of velocities on rectified flow starts with what it says of pure noise.

    As a `Denoiser` it is meant for one step: a state is taken to be the first, σ_t ε, and what is believed of it is the
    end of the trajectory, y_θ(ε, 0).
    """

    @classmethod
    def of(cls, start: NetworkDenoiser) -> "SignalDenoiser":
        """The same network, to be trained on from there.

        Raises
        ------
        ValueError
            It predicts neither x̂₀ nor velocities.
        """
        if start.kind not in ("x0", "velocity"):
            raise ValueError(
                f"network predicts {start.kind!r}; a signal is learned from one of 'x0' or 'velocity': fit one with "
                "regress(teacher, kind='x0')"
            )
        kind = "signal" if start.kind == "x0" else "signal velocity"
        return cls(start.network, start.schedule, start.shape, kind, start.classes)

    def forward(self, x: Tensor, t: Tensor, condition: Tensor | None = None) -> Prediction:
        noise = x / along(self.schedule.sigma(t), x)
        end = t.new_full((), EARLIEST)
        return Prediction(self.signal(noise, end, condition), noise)

    def signal(self, noise: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """y_θ(ε, t), shape of `noise`; t has shape () or (n,)."""
        out = self.output(noise, t.to(noise).expand(len(noise)), condition)
        return noise - out if self.kind == "signal velocity" else out

    def state(self, noise: Tensor, t: Tensor, condition: Tensor | None = None) -> Tensor:
        """x_t = α_t y_θ(ε, t) + σ_t ε: where the trajectory from this noise is."""
        return self.schedule.diffuse(self.signal(noise, t, condition), noise, t)
