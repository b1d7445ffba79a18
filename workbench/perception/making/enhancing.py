"""The second task of a student that hears noise: a mask over the spectrogram that leaves the clean sound.

    M = σ(linear(recurrent(features))),   Ŝ = M ⊙ |STFT(x̃)|,   L_enh = mean | Ŝ − |STFT(x)| |

Paper 110, section 2.3. The head is thrown away with training.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from workbench.data.sound import lengths
from workbench.signals.numbers import at_least_zero

CELLS: dict[str, type[nn.LSTM] | type[nn.GRU]] = {"lstm": nn.LSTM, "gru": nn.GRU}
SOURCES = {"conv": "front", "hidden": "context"}


@dataclass(frozen=True)
class Enhancement:
    """How the clean spectrogram is asked for.

    Attributes
    ----------
    weight
        λ ≥ 0; at 0 nothing is asked.
    source
        What the mask is read from: ``"conv"``, the convolutions' output, as in the paper's code; or ``"hidden"``, the
        student's last hidden state, as in its figure.
    cell, layers, hidden, bidirectional
        Of the recurrent network: ``"lstm"`` or ``"gru"``.
    n_fft, window, hop
        Of the spectrogram, in samples; the student's frames must be a whole number of hops apart.
    """

    weight: float = 2.0
    source: str = "conv"
    cell: str = "lstm"
    layers: int = 3
    hidden: int = 256
    bidirectional: bool = True
    n_fft: int = 512
    window: int = 400
    hop: int = 160

    def __post_init__(self) -> None:
        at_least_zero(weight=self.weight)
        if self.source not in SOURCES or self.cell not in CELLS:
            raise ValueError(
                f"source is {self.source!r} and cell {self.cell!r}; they can be {' or '.join(map(repr, SOURCES))}, and "
                f"{' or '.join(map(repr, CELLS))}"
            )
        if min(self.layers, self.hidden, self.hop) < 1 or not self.hop <= self.window <= self.n_fft:
            raise ValueError(
                f"layers={self.layers}, hidden={self.hidden} must be at least 1, and hop={self.hop} ≤ "
                f"window={self.window} ≤ n_fft={self.n_fft}"
            )

    @property
    def layer(self) -> str:
        """The student's layer that the mask is read from."""
        return SOURCES[self.source]


class Mask(nn.Module):
    """The head: frames (n, frames, width) into masks (n, frames, bins) in 0..1."""

    def __init__(self, asked: Enhancement, width: int) -> None:
        super().__init__()
        self.recurrent = CELLS[asked.cell](
            width, asked.hidden, asked.layers, batch_first=True, bidirectional=asked.bidirectional
        )
        self.linear = nn.Linear(asked.hidden * (1 + asked.bidirectional), asked.n_fft // 2 + 1)

    def forward(self, features: Tensor) -> Tensor:
        mask: Tensor = self.linear(self.recurrent(features)[0]).sigmoid()
        return mask


def spectrogram(waves: Tensor, asked: Enhancement) -> Tensor:
    """|STFT|, shape (n, frames, bins), of waveforms (n, samples); a frame is centred at each hop."""
    hann = torch.hann_window(asked.window, device=waves.device, dtype=waves.dtype)
    found = torch.stft(waves, asked.n_fft, asked.hop, asked.window, hann, center=True, return_complex=True)
    return found.abs().transpose(1, 2)


def enhanced(mask: nn.Module, features: Tensor, heard: Tensor, asked: Enhancement, hop: int) -> Tensor:
    """Ŝ, shape (n, frames, bins): the spectrogram of what was heard under the mask.

    Parameters
    ----------
    mask
        Features to masks, as `Mask`.
    features
        Shape (n, frames, width): a frame each `hop` samples, repeated to the spectrogram's. Where one of the two is
        longer, its end is cut off.
    heard
        x̃, shape (n, samples).
    """
    repeated = features.repeat_interleave(hop // asked.hop, 1)
    S = spectrogram(heard, asked)
    frames = min(S.shape[1], repeated.shape[1])
    found: Tensor = mask(repeated[:, :frames]) * S[:, :frames]
    return found


def distance(found: Tensor, clean: Tensor, asked: Enhancement) -> Tensor:
    """L_enh: mean absolute difference of Ŝ and |STFT(x)| over bins and the frames within each sound."""
    S = spectrogram(clean, asked)[:, : found.shape[1]]
    there = torch.arange(found.shape[1], device=found.device) * asked.hop < lengths(clean)[:, None]
    return ((found - S).abs().mean(2) * there).sum() / there.sum()
