"""The record of temperatures fitted to distilled images, masked and not, and of the calibration they lead to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pandas as pd
import torch
from torch import Tensor

from workbench.records.base import Record
from workbench.records.training import Calibration


@dataclass(frozen=True, eq=False, kw_only=True)
class TemperatureScaling(Record):
    """How K networks trained on a distilled set are calibrated on test images, before and after scaling (paper 112).

    The ways of finding a temperature, in the order of `names`: ``"raw"`` (T = 1), ``"TS"`` (fitted to the distilled
    images), ``"MTS 0.1"`` … (fitted to masked ones, by ratio), ``"oracle"`` (fitted to the test images themselves).

    Attributes
    ----------
    names
        What was done.
    ratios
        Mask ratio of each way; NaN for the oracle, which sees no distilled image, and for raw.
    temperature
        T of each network, float64, shape (ways, K).
    bound
        For each way and network ``"lower"`` or ``"upper"`` where the search ended at a bound, ``"flat"`` where nothing
        depends on T, else ``""``.
    ece
        Expected calibration error on the test images, float64, shape (ways, K), in 0..1.
    nll
        Mean negative log-likelihood there, in nats, shape (ways, K).
    accuracy
        Of each network on the test images, shape (K,); no temperature changes it.
    reliability
        Bins of all K networks together, one per way.
    temperatures
        Where the NLL curves are taken, shape (points,).
    nll_curve
        Mean over networks of the NLL of the images that each way fits to, shape (ways, points); raw has NaN.
    max_logit
        Largest logit of every image: ``"distilled"`` (K, n), ``"test"`` (K, m), ``"MTS 0.1"`` (K, draws · n), ….
    """

    names: tuple[str, ...]
    ratios: tuple[float, ...]
    temperature: Tensor
    bound: tuple[tuple[str, ...], ...]
    ece: Tensor
    nll: Tensor
    accuracy: Tensor
    reliability: tuple[Calibration, ...]
    temperatures: Tensor
    nll_curve: Tensor
    max_logit: dict[str, Tensor]

    layout: ClassVar[Mapping[str, str]] = {
        "temperature": "float names K",
        "ece": "float names K",
        "nll": "float names K",
        "accuracy": "float K",
        "temperatures": "number points",
        "nll_curve": "number names points",
        "max_logit": "number K _",
    }

    def way(self, name: str) -> int:
        """Position of a way by its name.

        Raises
        ------
        ValueError
            There is none of that name.
        """
        if name not in self.names:
            raise ValueError(f"name is {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def check(self) -> None:
        super().check()
        ways, networks = self.ece.shape
        if not networks or len(self.ratios) != ways or [len(one) for one in self.bound] != [networks] * ways:
            raise ValueError(f"ratios or bound are not of {ways} ways and {networks} networks")

    def summary(self) -> str:
        means = ", ".join(f"{name} {value:.3f}" for name, value in zip(self.names, self.ece.mean(1), strict=True))
        return f"ECE of {self.ece.shape[1]} networks at accuracy {self.accuracy.mean():.3f}: {means}"

    def to_frame(self) -> pd.DataFrame:
        """One row per way and network: ``way``, ``ratio``, ``network``, ``temperature``, ``bound``, ``ece``, ``nll``,
        ``accuracy``.
        """
        ways, networks = self.ece.shape
        way = torch.arange(ways).repeat_interleave(networks).tolist()
        columns: dict[str, Any] = {
            "way": [self.names[k] for k in way],
            "ratio": [self.ratios[k] for k in way],
            "network": list(range(networks)) * ways,
            "temperature": self.temperature.flatten().tolist(),
            "bound": [bound for each in self.bound for bound in each],
            "ece": self.ece.flatten().tolist(),
            "nll": self.nll.flatten().tolist(),
            "accuracy": self.accuracy.tolist() * ways,
        }
        return pd.DataFrame(columns)
