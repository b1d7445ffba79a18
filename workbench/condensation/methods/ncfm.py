"""NCFM: real and synthetic features should have the same characteristic function, at the frequencies that tell most.

    Φ_X(t) = mean_i exp(i ⟨t, x_i⟩),    x_i = ψ(image_i) / ‖ψ(image_i)‖,    t from a network T, or N(0, I),
    min_S max_T  Σ_c mean_t √( α (|Φ_R| − |Φ_S|)² + β · 2 (|Φ_R| |Φ_S| − Re Φ_R Φ̄_S) ).

Two distributions are equal when their Φ are. Amplitudes (α) speak of spread, phases (β) of place. Wang et al., “Dataset
Distillation with Neural Characteristic Function: A Minmax Perspective”, CVPR 2025 (paper 036), and its public code.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from workbench.condensation.making.batches import Features
from workbench.condensation.making.checks import check
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
from workbench.condensation.making.run import CondensationRun
from workbench.condensation.making.synthetic import Synthetic
from workbench.condensation.methods.dsa import Siamese
from workbench.kernels.characteristic import discrepancy

UPDATES = ("class by class", "all classes at once")


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
    updates
        ``"class by class"``, as in the public code: the images are moved after each class, so that an iteration is as
        many steps of AdamW, with its momentum and weight decay on all images, as there are classes, and as many again
        for the calibration. ``"all classes at once"``: one step on the sum over the classes, and one on the calibration
        of all; faster, and another course, since AdamW's step does not add up over classes.
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
    updates: Literal["class by class", "all classes at once"] = "class by class"
    patience: int = 500
    initial: str = "real"
    factor: int = 2
    augment: Siamese | None = field(default_factory=lambda: Siamese("color+crop+cutout", mode="all"))
    network: str | NetworkPool = "convnet"
    options: dict[str, Any] = field(default_factory=dict)
    pretrained: int = 20
    epochs: int = 60

    def __post_init__(self) -> None:
        check(
            self,
            whole={
                "ipc": 1, "iterations": 0, "real_batch": 1, "frequencies": 1, "patience": 0, "factor": 1,
                "pretrained": 0, "epochs": 0,
            },
            positive=["lr", "scale", "sampling_lr"],
            least=["alpha", "beta", "calibration", "weight_decay", "sampling_momentum"],
        )  # fmt: skip
        if self.updates not in UPDATES:
            raise ValueError(f"updates is {self.updates!r}; it can be {' or '.join(map(repr, UPDATES))}")
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

    def start(self, run: CondensationRun) -> Synthetic:
        run.made["networks"] = self._networks(run)
        return start(run, self.ipc, self.initial, tiles=self.factor, clamp=run.pixel_range)

    def optimizers(self, synthetic: Synthetic) -> list[torch.optim.Optimizer]:
        return [torch.optim.AdamW([synthetic.pixels], self.lr, weight_decay=self.weight_decay)]

    def pace(self, run: CondensationRun) -> float:
        return Plateau(run.memory, self.patience).factor

    def losses(self, run: CondensationRun, synthetic: Synthetic) -> Iterator[Tensor]:
        networks: NetworkPool = run.made["networks"]
        total = {"discrepancy": 0.0, "calibration": 0.0}

        def told(name: str, losses: Iterator[Tensor]) -> Iterator[Tensor]:
            for loss in losses if self.updates == "class by class" else _sum(losses):
                total[name] += float(loss.detach())
                yield loss
            run.log(**{name: total[name]})

        yield from told("discrepancy", self._discrepancies(run, synthetic, embedding(networks.draw(run))))
        if self.calibration:
            assert isinstance(networks, Trained)
            record = networks.pick(run)
            yield from told("calibration", self._calibrations(run, synthetic, network_with(record, record.state, run)))
        Plateau(run.memory, self.patience).note(sum(total.values()))

    def _discrepancies(self, run: CondensationRun, synthetic: Synthetic, psi: Features) -> Iterator[Tensor]:
        """Of each class in turn, from its images as they are by then; the sampling network takes a step after each."""
        real = run.real(self.real_batch)
        view, augment, frequencies = (run.generator(purpose) for purpose in ("view", "augment", "frequencies"))
        for c in range(run.classes):
            change = _unchanged if self.augment is None else self.augment.shared(augment)
            images = change(synthetic.of_class(c, view)[0])
            with torch.no_grad():
                r = F.normalize(psi(change(real[c])), dim=1)
            s = F.normalize(psi(images), dim=1)
            sampler = Sampler.of(run, self, s) if self.sampling else None
            if sampler is None:
                t = torch.randn(self.frequencies, r.shape[1], generator=frequencies).to(r)
            else:
                t = sampler.draw(self.frequencies, frequencies)
            loss = self.scale * discrepancy(r, s, t, alpha=self.alpha, beta=self.beta).mean()
            if sampler is not None:
                sampler.ascend(loss)
                run.memory["sampler"] = sampler.state()
            yield loss

    def _calibrations(self, run: CondensationRun, synthetic: Synthetic, network: nn.Module) -> Iterator[Tensor]:
        """Cross-entropy of each class's images in turn under a trained network."""
        view, augment = run.generator("calibration view"), run.generator("calibration augment")
        for c in range(run.classes):
            change = _unchanged if self.augment is None else self.augment.shared(augment)
            images, labels = synthetic.of_class(c, view)
            yield self.calibration * F.cross_entropy(network(change(images)), labels)

    def _networks(self, run: CondensationRun) -> NetworkPool:
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


def _sum(losses: Iterator[Tensor]) -> Iterator[Tensor]:
    yield torch.stack(list(losses)).sum()


def _unchanged(images: Tensor) -> Tensor:
    return images


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
    def of(cls, run: CondensationRun, method: NCFM, features: Tensor) -> "Sampler":
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
