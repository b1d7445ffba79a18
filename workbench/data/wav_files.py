"""WAV files as numbers: whole numbers of 8 to 32 bits and floating point, one or several channels. Runs nothing.

A file is a list of chunks; ``fmt `` says what the numbers of ``data`` are, everything else is passed over. What is
damaged, compressed or cut off is refused by name.
"""

import struct
from dataclasses import dataclass

import numpy as np

from workbench.data.sampling import DataError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
_CODECS = {2: "ADPCM", 6: "A-law", 7: "µ-law", 0x11: "IMA ADPCM", 0x31: "GSM", 0x55: "MP3"}
_GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
"""Behind the format's number in the subformat of an extensible file."""

RATES = (1_000, 384_000)
MOST_CHANNELS = 32
LOUDEST = 16.0
"""Floating point sound lies in −1..1, and somewhat beyond where it was not limited; more has no known meaning."""


@dataclass(frozen=True)
class _Format:
    """What the numbers are."""

    tag: int
    channels: int
    rate: int
    bits: int


def read_wav(content: bytes, where: str) -> tuple[np.ndarray, int]:
    """The sound of a WAV file as one channel, and its sampling rate.

    Parameters
    ----------
    content
        The file's bytes.
    where
        What messages call it.

    Returns
    -------
    tuple
        float32 in about −1..1, shape (samples,), the mean of the channels; and samples per second.

    Raises
    ------
    DataError
        It is no WAV file, is damaged or cut off, holds no sound, or is coded otherwise than as plain numbers.

    Examples
    --------
    >>> import io, wave
    >>> file = io.BytesIO()
    >>> with wave.open(file, "wb") as writer:
    ...     writer.setparams((1, 2, 8000, 0, "NONE", ""))
    ...     writer.writeframes(struct.pack("<3h", 0, 16384, -32768))
    >>> read_wav(file.getvalue(), "x.wav")
    (array([ 0. ,  0.5, -1. ], dtype=float32), 8000)
    """
    if len(content) < 12 or content[8:12] != b"WAVE" or content[:4] != b"RIFF":
        raise DataError(f"{where} is no WAV file: it does not begin with RIFF … WAVE")
    form: _Format | None = None
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        body = content[at + 8 : at + 8 + size]
        if len(body) < size:
            raise DataError(f"{where} is cut off: its chunk {name!r} should have {size:,} bytes and has {len(body):,}")
        if name == b"fmt ":
            if form is not None:
                raise DataError(f"{where} says twice what its numbers are")
            form = _format(body, where)
        elif name == b"data":
            if form is None:
                raise DataError(f"{where} has sound before it says what its numbers are")
            return _mono(body, form, where), form.rate
        at += 8 + size + size % 2
    raise DataError(f"{where} holds no sound: it has no data chunk")


def _format(body: bytes, where: str) -> _Format:
    if len(body) < 16:
        raise DataError(f"{where} is damaged: its format has {len(body)} bytes, at least 16 are needed")
    tag, channels, rate, _, align, bits = struct.unpack_from("<HHIIHH", body)
    if tag == EXTENSIBLE:
        if len(body) < 40 or body[26:40] != _GUID_TAIL:
            raise DataError(f"{where} has an extended format that is not known: save it as plain PCM")
        tag = struct.unpack_from("<H", body, 24)[0]
    if (tag, bits) not in {(PCM, 8), (PCM, 16), (PCM, 24), (PCM, 32), (FLOAT, 32), (FLOAT, 64)}:
        what = {PCM: "whole numbers", FLOAT: "floating point"}.get(tag) or _CODECS.get(tag) or f"format {tag}"
        raise DataError(f"{where} holds {what} of {bits} bits: save it as PCM of 8, 16, 24 or 32 bits, or as float")
    if not 1 <= channels <= MOST_CHANNELS or not RATES[0] <= rate <= RATES[1]:
        raise DataError(
            f"{where} has {channels} channels at {rate:,} samples per second; 1 to {MOST_CHANNELS} channels at "
            f"{RATES[0]:,} to {RATES[1]:,} are read"
        )
    if align != channels * bits // 8:
        raise DataError(
            f"{where} is damaged: {channels} channels of {bits} bits take {channels * bits // 8} bytes, it says {align}"
        )
    return _Format(tag, channels, rate, bits)


def _mono(body: bytes, form: _Format, where: str) -> np.ndarray:
    width = form.bits // 8
    if not body or len(body) % (width * form.channels):
        raise DataError(
            f"{where} has {len(body):,} bytes of sound: none, or no whole number of {form.channels} × {width}"
        )
    if form.tag == FLOAT:
        numbers = np.frombuffer(body, f"<f{width}").astype(np.float64)
        if not (np.isfinite(numbers).all() and np.abs(numbers).max() <= LOUDEST):
            raise DataError(f"{where} has numbers that are not finite or beyond ±{LOUDEST:g}; sound lies in −1..1")
    elif form.bits == 8:
        numbers = (np.frombuffer(body, np.uint8) - 128.0) / 128
    elif form.bits == 24:
        packed = np.zeros((len(body) // 3, 4), np.uint8)
        packed[:, 1:] = np.frombuffer(body, np.uint8).reshape(-1, 3)
        numbers = packed.view("<i4")[:, 0] / 2.0**31
    else:
        numbers = np.frombuffer(body, f"<i{width}") / 2.0 ** (form.bits - 1)
    return numbers.reshape(-1, form.channels).mean(1).astype(np.float32)
