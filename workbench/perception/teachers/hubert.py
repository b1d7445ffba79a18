"""HuBERT's way of making a speech encoder from sound alone: hide spans of frames, predict which cluster they belong to.

    L = − mean over hidden frames of log softmax(W z)_c,   c = k-means cluster of the frame's log-mel spectrum

Hsu et al. 2021, first iteration. Paper 110's teachers are such encoders; here one is made in seconds.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor, nn

from workbench.data import Dataset, SoundSplit
from workbench.models import Outputs
from workbench.models.speech import SpeechEncoder
from workbench.perception.making.distill import unlabelled
from workbench.records import TrainingRecord
from workbench.training import distributed, fit


def pretrain(
    encoder: nn.Module,
    data: Dataset,
    *,
    clusters: int = 100,
    start: float = 0.08,
    span: int = 10,
    seed: int = 0,
    device: str = "auto",
    name: str = "teacher",
    **options: Any,
) -> TrainingRecord:
    """Train a speech encoder by masked prediction.

    Parameters
    ----------
    encoder
        Made by `workbench.models.build("speech", data)`; trained in place, but for its head.
    data
        Sound; labels are not read.
    clusters
        k of k-means.
    start, span
        Probability that a hidden span starts at a frame, and its length in frames.
    options
        Others of `workbench.training.fit`: `epochs` or `steps`, `lr`, `batch_size`, `optimizer`, `resume`, ….

    Returns
    -------
    TrainingRecord
        Of the encoder; what predicts clusters is thrown away.

    Raises
    ------
    ValueError
        Names the argument, what it was and what would do.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("words", n_train=32, n_test=20, words=4)
    >>> encoder = wb.models.build("speech", data, width=16, depth=1, kernels=[20, 8], strides=[10, 8])
    >>> record = pretrain(encoder, data, clusters=8, steps=2, progress=False)
    >>> record.model is encoder, sorted(record.curves)
    (True, ['hidden_accuracy', 'learning_rate', 'train_loss'])
    """
    if not isinstance(encoder, SpeechEncoder):
        raise ValueError(  # noqa: TRY004 - one error for all arguments
            f"encoder is a {type(encoder).__name__}; it must be made by workbench.models.build('speech')"
        )
    if clusters < 2 or not 0 < start <= 1 or span < 1:
        raise ValueError(f"clusters={clusters} must be at least 2, start={start} in 0..1, span={span} at least 1")
    train = unlabelled(data)
    targets = clustered(train, encoder, clusters, seed).to(distributed.pick(device))
    whole = Masked(encoder, clusters, start, span, torch.Generator().manual_seed(seed))
    record = fit(
        whole,
        train,
        loss=HiddenFrames(),
        layers="hidden",
        guide=lambda inputs, rows: Outputs(targets[rows]),  # noqa: ARG005 - the guide's signature
        device=device,
        seed=seed,
        name=name,
        **options,
    )
    prefix = "encoder."
    state = {key.removeprefix(prefix): v for key, v in record.state.items() if key.startswith(prefix)}
    spec = getattr(encoder, "spec", None)
    return record.replace(state=state, spec=spec, snapshots={}, snapshot_epochs=()).with_model(encoder)


class Masked(nn.Module):
    """The encoder with spans of its frames hidden, and a linear layer that says which cluster each belongs to."""

    def __init__(
        self, encoder: SpeechEncoder, clusters: int, start: float, span: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        width = encoder.head.in_features
        self.encoder, self.start, self.span = encoder, start, span
        self.hidden = nn.Identity()
        self.unknown = nn.Parameter(torch.rand(width, generator=generator))
        self.predict = nn.Linear(width, clusters)
        nn.init.normal_(self.predict.weight, std=width**-0.5, generator=generator)
        nn.init.zeros_(self.predict.bias)

    def forward(self, waves: Tensor) -> Tensor:
        """Logits of clusters, shape (n, frames, clusters); the global generator, which `fit` seeds, draws the spans."""
        frames, features = self.encoder.embedded(waves)
        begins = torch.rand(frames.shape, device=waves.device) < self.start
        hidden = F.max_pool1d(F.pad(begins.float(), (self.span - 1, 0)), self.span, 1) > 0
        hidden = self.hidden(hidden & frames)
        features = torch.where(hidden[..., None], self.unknown, features)
        scores: Tensor = self.predict(self.encoder.contextual(features, frames))
        return scores


class HiddenFrames(nn.Module):
    """Cross-entropy of the hidden frames."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: dict[str, Tensor] = {}

    def forward(self, outputs: Outputs, guide: Outputs, labels: Tensor) -> Tensor:  # noqa: ARG002 - the loss protocol
        hidden = outputs.features["hidden"]
        scores, clusters = outputs.logits, guide.logits
        there = hidden.to(scores.dtype)
        most = there.sum().clamp(min=1)
        self.logged = {"hidden_accuracy": (((scores.argmax(-1) == clusters) * there).sum() / most).detach()}
        losses = F.cross_entropy(scores.transpose(1, 2), clusters, reduction="none")
        return (losses * there).sum() / most


def clustered(split: SoundSplit, encoder: SpeechEncoder, clusters: int, seed: int) -> Tensor:
    """The cluster of every frame, int64, shape (n, frames), by k-means over the log-mel spectra of the sounds."""
    waves = split.inputs.cpu()
    there = encoder.frames(waves)
    spectra = log_mel(waves, split.rate, encoder.hop)[:, : there.shape[1]]
    known = spectra[there[:, : spectra.shape[1]]]
    if len(known) < clusters:
        raise ValueError(f"clusters={clusters}, but there are only {len(known)} frames of sound")
    means = MiniBatchKMeans(clusters, random_state=seed, n_init=1, batch_size=4096).fit(known.double().numpy())
    found = means.predict(spectra.flatten(0, 1).double().numpy())
    ids = torch.from_numpy(np.asarray(found, dtype=np.int64)).view(spectra.shape[:2])
    return F.pad(ids, (0, there.shape[1] - ids.shape[1]), value=int(ids[0, -1]))


def log_mel(waves: Tensor, rate: int, hop: int, bands: int = 24) -> Tensor:
    """Log-mel spectra, shape (n, frames, bands), in windows of 32 ms, of waveforms (n, samples)."""
    size = 2 ** round(math.log2(0.032 * rate))
    power = torch.stft(waves, size, hop, window=torch.hann_window(size), return_complex=True).abs().square()
    return ((mel_filters(rate, size, bands) @ power) + 1e-3).log().transpose(1, 2)


def mel_filters(rate: int, size: int, bands: int) -> Tensor:
    """Triangles that are evenly spaced in mel, 2595 log10(1 + f / 700), shape (bands, size // 2 + 1)."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    frequency = torch.linspace(0, rate / 2, size // 2 + 1)
    rising = (frequency - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - frequency) / (edges[2:] - edges[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0)
