"""Sound to learn from: waveforms with their words or classes; from a folder or zip of WAV files."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import torch
from scipy.signal import resample_poly  # type: ignore[attr-defined]  # its stubs lack it
from torch import Tensor

from workbench.data.assemble import Part, held_out
from workbench.data.dataset import Dataset, Split
from workbench.data.folder import Listing, listings_of
from workbench.data.picture_files import SUFFIXES as PICTURES
from workbench.data.picture_files import PictureFolder, open_pictures
from workbench.data.sampling import DataError
from workbench.data.wav_files import RATES, read_wav

SUFFIXES = (".wav",)
LONGEST = 30.0
"""Seconds of a sound that is taken whole unless `seconds` says otherwise."""
_MOST_BYTES = 8 * 2**30
"""Of all samples together, as float32."""


@dataclass(frozen=True, eq=False, repr=False)
class SoundSplit(Split):
    """Waveforms of one kind of use.

    Attributes
    ----------
    inputs
        float32, shape (n, samples), divided by the root mean square of the training sounds. A shorter sound is followed
        by zeros: what is zero up to the end is padding (`lengths`), and what works on sound leaves it so.
    rate
        Samples per second.
    """

    rate: int = 16_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.inputs.ndim != 2 or not self.inputs.is_floating_point():
            raise DataError(
                f"inputs are {self.inputs.dtype} of shape {tuple(self.inputs.shape)}; waveforms (n, samples) are needed"
            )
        if not RATES[0] <= self.rate <= RATES[1]:
            raise DataError(f"rate={self.rate} must be in {RATES[0]:,}..{RATES[1]:,} samples per second")


def lengths(waves: Tensor) -> Tensor:
    """Samples of each sound without the zeros behind it, int64, shape (n,), of waveforms (n, samples).

    Examples
    --------
    >>> lengths(torch.tensor([[0.0, 1, 0, 2, 0, 0], [0.0, 0, 0, 0, 0, 0]])).tolist()
    [4, 0]
    """
    places = torch.arange(1, waves.shape[1] + 1, device=waves.device)
    return torch.where(waves != 0, places, 0).amax(1)


def sounds(
    path: str | os.PathLike,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    rate: int | None = None,
    seconds: float | None = None,
    test_fraction: float = 0.25,
    name: str | None = None,
) -> Dataset:
    """Your own recordings: the WAV files of a folder or zip, with their classes.

    Three layouts are understood, each also inside one enclosing folder: ``class/sound.wav``, split by `seed`;
    ``train/class/sound.wav`` with ``test/class/sound.wav``; and files side by side whose names begin with their class,
    as in ``7_jackson_3.wav``. Hidden files and files of other kinds are passed over.

    Parameters
    ----------
    path
        Folder, or zip file, which is read in place.
    seed, test_fraction
        The stratified split, where the folders do not make one.
    device
        Where the tensors live.
    rate
        Samples per second to convert to; None: that of the files, which must be alike.
    seconds
        Longer sounds are cut off behind; None: as long as the longest, at most half a minute.
    name
        What the dataset is called; by default the file's name.

    Returns
    -------
    Dataset
        Of `SoundSplit`. Several channels become their mean.

    Raises
    ------
    DataError
        Names the file that cannot be read, is silent or lies in no class; or says that there is no sound, or only one
        class.

    Examples
    --------
    >>> import tempfile, wave
    >>> folder = Path(tempfile.mkdtemp())
    >>> for i in range(8):
    ...     with wave.open(str(folder / f"{('low', 'high')[i % 2]}_{i}.wav"), "wb") as file:
    ...         file.setparams((1, 2, 8000, 0, "NONE", ""))
    ...         tone = 9000 * np.sin(np.arange(1, 400 + i) * (0.1, 0.5)[i % 2])
    ...         file.writeframes(tone.astype("<i2").tobytes())
    >>> sounds(folder, name="tones")
    Dataset('tones', 6 train + 2 test × 406, 2 classes, cpu)
    """
    where = Path(path).expanduser()
    if rate is not None and not RATES[0] <= rate <= RATES[1]:
        raise DataError(f"rate={rate} must be in {RATES[0]:,}..{RATES[1]:,} samples per second")
    if seconds is not None and not 0 < seconds <= 600:
        raise DataError(f"seconds={seconds} must be above 0 and at most 600")
    with open_pictures(where, SUFFIXES, "sounds") as files:
        listings = _listings(files, where)
        classes = listings[0].classes
        if len(classes) < 2:
            raise DataError(f"{where} has one class, {classes[0]!r}: at least two are needed")
        waves, found = _read(files, [file for listing in listings for file in listing.files], rate, seconds)
    parts = [
        Part(x, torch.tensor(listing.labels), torch.arange(len(x)))
        for x, listing in zip(waves.split([len(listing.files) for listing in listings]), listings, strict=True)
    ]
    train, test = parts if len(parts) == 2 else held_out(parts[0], test_fraction, seed, classes)
    return of_waves(name or where.stem, train, test, classes, found, device=device)


def of_waves(
    name: str,
    train: Part,
    test: Part,
    classes: Sequence[str],
    rate: int,
    *,
    device: torch.device | str = "cpu",
) -> Dataset:
    """A dataset of waveforms (n, samples), scaled by the root mean square of the training sounds without padding."""
    power = train.inputs.double().square().sum() / lengths(train.inputs).sum()
    std = power.sqrt().float().view(1)
    splits = [
        SoundSplit(part.inputs / std, part.labels, tuple(classes), torch.zeros(1), std, part.index, rate=rate)
        for part in (train, test)
    ]
    return Dataset(name, *splits).to(device)


def holds_sound(path: Path) -> bool:
    """Whether a folder or zip has WAV files and no pictures."""
    try:
        with open_pictures(path, {*SUFFIXES, *PICTURES}) as files:
            kinds = {file.suffix.lower() for file in files.files}
    except DataError:
        return False
    return bool(kinds) and kinds <= set(SUFFIXES)


def _listings(files: PictureFolder, where: Path) -> list[Listing]:
    """By folders; or by the beginning of the names, where all files lie side by side."""
    if len({file.parent for file in files.files}) != 1:
        return listings_of(files, where)
    beginnings = [file.stem.split("_")[0] if "_" in file.stem else "" for file in files.files]
    if "" in beginnings:
        raise DataError(
            f"{files.show(files.files[beginnings.index('')])} is of no class: put the sounds into a folder for each "
            "class, or begin their names with the class and an underscore, as in yes_1.wav"
        )
    classes = tuple(sorted(set(beginnings)))
    return [Listing(classes, files.files, [classes.index(one) for one in beginnings])]


def _read(
    files: PictureFolder, paths: list[PurePosixPath], rate: int | None, seconds: float | None
) -> tuple[Tensor, int]:
    """Waveforms of all files, (n, samples), padded behind with zeros; and samples per second."""
    found: list[np.ndarray] = []
    total, same = 0, ""
    for path in paths:
        shown = files.show(path)
        wave, its = read_wav(files.content(path), shown)
        if rate is None:
            rate, same = its, shown
        if its != rate and same:
            raise DataError(
                f"{shown} has {its:,} samples per second, {same} has {rate:,}: pass rate= to make them alike"
            )
        if its != rate:
            wave = _at_rate(wave, its, rate)
        if seconds is not None:
            wave = wave[: max(1, round(seconds * rate))]
        elif len(wave) > LONGEST * rate:
            raise DataError(f"{shown} takes {len(wave) / rate:.0f} s: pass seconds=, where longer sounds are cut off")
        if not wave.any():
            raise DataError(f"{shown} is silent: remove it")
        found.append(wave)
        total = max(total, len(wave))
        if total * len(paths) * 4 > _MOST_BYTES:
            raise DataError(f"{len(paths):,} sounds of {total:,} samples would take more than 8 GiB: pass seconds=")
    assert rate is not None
    waves = torch.zeros(len(found), total)
    for row, wave in zip(waves, found, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return waves, rate


def _at_rate(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    common = math.gcd(rate, wanted)
    return resample_poly(wave.astype(np.float64), wanted // common, rate // common).astype(np.float32)
