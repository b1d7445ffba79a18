"""NCFM: real and synthetic features should have the same characteristic function, at the frequencies that tell most.

    Φ_X(t) = mean_i exp(i ⟨t, x_i⟩),    x_i = ψ(image_i) / ‖ψ(image_i)‖,    t from a network T, or N(0, I),
    min_S max_T  Σ_c mean_t √( α (|Φ_R| − |Φ_S|)² + β · 2 (|Φ_R| |Φ_S| − Re Φ_R Φ̄_S) ).

Two distributions are equal when their Φ are. Amplitudes (α) speak of spread, phases (β) of place. Wang et al., “Dataset
Distillation with Neural Characteristic Function: A Minmax Perspective”, CVPR 2025 (paper 036), and its public code.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.condensation.making.initial import start
from workbench.condensation.making.networks import (
    Interpolated,
    NetworkPool,
    Trained,
    embedding,
    network_with,
    pool,
    pretrain,
)
from workbench.condensation.making.plateau import Plateau
from workbench.condensation.making.run import Run
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.methods.dsa import Siamese
from workbench.kernels.characteristic import discrepancy


@dataclass(frozen=True, kw_only=True)
class NCFM:
    """Match characteristic functions of features, class by class.

    Attributes
    ----------
    ipc
        Images per class.
    iterations
        Steps of the public code.
    real_batch
        Real images per class and step.
    frequencies
        K, drawn anew for each class and step.
    sampling
        Frequencies come from a `SamplingNet` that learns to make the discrepancy large, instead of from N(0, I); the
        configurations released for CIFAR leave it out.
    sampling_lr, sampling_momentum
        Of SGD on that network.
    alpha, beta
        Weights of amplitude and phase.
    scale
        Factor of the discrepancy.
    calibration
        Weight of a second step per iteration, on the cross-entropy of the images under the trained network; 0: none.
    lr
        Of AdamW on the normalised pixels. The public code's 0.001 is for pixels in 0..1, of standard deviation about ¼.
    weight_decay
        Of AdamW.
    patience
        The learning rate is halved when the loss has had no new minimum for so many iterations; 0: never.
    initial, factor
        What the images start from, and as `factor` × `factor` tiles each; see
        `workbench.condensation.making.initial.start`.
    augment
        The augmentation that both sides share; None: none.
    network, options
        An architecture that `workbench.models.build` knows, and its options, of which networks are trained first; or a
        pool of networks: a pool without training has no network to calibrate with.
    pretrained, epochs
        How many networks are trained first, and how long. 0: features are those of fresh networks.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("digits")
    >>> method = NCFM(ipc=1, real_batch=16, frequencies=64, pretrained=1, epochs=1, options={"width": 8})
    >>> tiny = wb.condensation.condense(data, method, iterations=2, progress=False)
    >>> sorted(tiny.curves), tiny.view
    (['calibration', 'discrepancy'], {'tiles': 2})
    """

    short: ClassVar[str] = "NCFM"

    ipc: int = 10
    iterations: int = 20_000
    real_batch: int = 1024
    frequencies: int = 4096
    sampling: bool = False
    sampling_lr: float = 1e-3
    sampling_momentum: float = 0.5
    alpha: float = 0.5
    beta: float = 0.5
    scale: float = 300.0
    calibration: float = 1.0
    lr: float = 4e-3
    weight_decay: float = 5e-4
    patience: int = 500
    initial: str = "real"
    factor: int = 2
    augment: Siamese | None = field(default_factory=lambda: Siamese("color+crop+cutout", mode="all"))
    network: str | NetworkPool = "convnet"
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: int = 20
    epochs: int = 60

    def __post_init__(self) -> None:
        fresh = not (self.pretrained if isinstance(self.network, str) else isinstance(self.network, Trained))
        if self.calibration and fresh:
            raise ValueError(
                f"calibration is {self.calibration}, but the networks are not trained: train some with pretrained= and "
                "epochs=, pass a pool of trained ones, or take calibration=0"
            )
        if self.sampling and self.frequencies < 32:
            raise ValueError(
                f"frequencies is {self.frequencies}; the sampling network makes one of 16, and its batch norm needs two"
            )

    def start(self, run: Run) -> Synthetic:
        run.made["networks"] = self._networks(run)
        return start(run, self.ipc, self.initial, tiles=self.factor, clamp=run.pixel_range)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW([synthetic.pixels], self.lr, weight_decay=self.weight_decay)]

    def pace(self, run: Run) -> float:
        return Plateau(run.memory, self.patience).factor

    def losses(self, run: Run, synthetic: Synthetic) -> Iterator[Tensor]:
        networks: NetworkPool = run.made["networks"]
        discrepancy = self._discrepancy(run, synthetic, embedding(networks.draw(run)))
        run.log(discrepancy=discrepancy.detach())
        total = discrepancy.detach()
        yield discrepancy
        if self.calibration:
            assert isinstance(networks, Trained)
            record = networks.pick(run)
            images, labels = synthetic.examples(run.generator("calibration view"))
            if self.augment is not None:
                images = self.augment.shared(run.generator("calibration augment"))(images)
            logits = network_with(record, record.state, run)(images)
            calibration = self.calibration * run.classes * F.cross_entropy(logits, labels)
            run.log(calibration=calibration.detach())
            total = total + calibration.detach()
            yield calibration
        Plateau(run.memory, self.patience).note(float(total))

    def _discrepancy(self, run: Run, synthetic: Synthetic, psi: Any) -> Tensor:
        """Σ over classes; the sampling network takes a step after each, as the images would, which no other class
        touches: their steps can therefore be taken together.
        """
        real, images = run.real(self.real_batch), synthetic.by_class(run.generator("view"))
        if self.augment is not None:
            change = self.augment.by_class(run.classes, run.generator("augment"))
            real, images = change(real), change(images)
        with torch.no_grad():
            target = F.normalize(psi(real.flatten(0, 1)), dim=1).unflatten(0, real.shape[:2])
        features = F.normalize(psi(images.flatten(0, 1)), dim=1).unflatten(0, images.shape[:2])
        generator = run.generator("frequencies")
        sampler = Sampler.of(run, self, features) if self.sampling else None
        total = features.new_zeros(())
        for r, s in zip(target, features, strict=True):
            if sampler is None:
                t = torch.randn(self.frequencies, r.shape[1], generator=generator).to(r)
            else:
                t = sampler.draw(self.frequencies, generator)
            loss = self.scale * discrepancy(r, s, t, alpha=self.alpha, beta=self.beta).mean()
            if sampler is not None:
                sampler.ascend(loss)
            total = total + loss
        if sampler is not None:
            run.memory["sampler"] = sampler.state()
        return total

    def _networks(self, run: Run) -> NetworkPool:
        if not isinstance(self.network, str) or not self.pretrained:
            return pool(self.network, self.options)
        seed = int(torch.randint(2**31, (), generator=run.generator("pretrain", 0)))
        return Interpolated(
            pretrain(
                run.split,
                self.network,
                self.pretrained,
                self.epochs,
                seed=seed,
                options=self.options,
                device=run.device,
            )
        )


class SamplingNet(nn.Module):
    """T: proposes frequencies in [−1, 1]^d from noise. Three linear layers with batch norm; leaky ReLU, tanh last."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(d, d), nn.BatchNorm1d(d), nn.LeakyReLU(0.2)),
            *(nn.Linear(d, d), nn.BatchNorm1d(d), nn.LeakyReLU(0.2)),
            *(nn.Linear(d, d), nn.BatchNorm1d(d), nn.Tanh()),
        )

    def forward(self, noise: Tensor) -> Tensor:
        """Frequencies (n, d) of noise (n, d)."""
        frequencies: Tensor = self.layers(noise)
        return frequencies


class Sampler:
    """A sampling network that climbs the discrepancy.

    Parameters
    ----------
    network
        Its weights are changed in place.
    lr, momentum
        Of SGD.
    """

    def __init__(self, network: SamplingNet, lr: float = 1e-3, momentum: float = 0.5) -> None:
        self.network = network
        self.optimizer = torch.optim.SGD(network.parameters(), lr, momentum=momentum, maximize=True)

    def draw(self, frequencies: int, generator: torch.Generator) -> Tensor:
        """Frequencies, shape (K / 16, d), with gradients to the network.

        The public code repeats each 16 times to have K of them, which changes no mean over frequencies.
        """
        weight = next(self.network.parameters())
        noise = torch.randn(frequencies // 16, weight.shape[1], generator=generator)
        proposed: Tensor = self.network(noise.to(weight))
        return proposed

    def ascend(self, loss: Tensor) -> None:
        """One step up the gradient of `loss`, whose graph is kept."""
        parameters = list(self.network.parameters())
        for parameter, gradient in zip(
            parameters, torch.autograd.grad(loss, parameters, retain_graph=True), strict=True
        ):
            parameter.grad = gradient
        self.optimizer.step()

    def state(self) -> dict[str, Any]:
        """Weights and momentum, as they are in use."""
        momentum = {str(key): value for key, value in self.optimizer.state_dict()["state"].items()}
        return {"weights": self.network.state_dict(), "momentum": momentum}

    @classmethod
    def of(cls, run: Run, method: NCFM, features: Tensor) -> "Sampler":
        """The run's sampler, whose state lives in the run's memory."""
        if "sampler" not in run.made:
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(
                    int(torch.randint(2**62, (), generator=run.generator("sampler", 0)))
                )
                network = SamplingNet(features.shape[-1]).to(features)
            made = run.made["sampler"] = cls(network, method.sampling_lr, method.sampling_momentum)
            if "sampler" in run.memory:
                network.load_state_dict(run.memory["sampler"]["weights"])
                state = {int(key): dict(value) for key, value in run.memory["sampler"]["momentum"].items()}
                made.optimizer.load_state_dict({**made.optimizer.state_dict(), "state": state})
        found: Sampler = run.made["sampler"]
        return found
