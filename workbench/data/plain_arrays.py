"""Arrays of plain numbers from a stranger's description: a code, a shape, and bytes as long as both say."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from workbench.data.plain_pickle import Buildable, Makers, RefusedError

CODES: Mapping[str, int] = {
    "b1": 1, "u1": 1, "i1": 1, "u2": 2, "i2": 2, "f2": 2, "u4": 4, "i4": 4, "f4": 4, "u8": 8, "i8": 8, "f8": 8
}  # fmt: skip
"""The kinds of number that are read, and their bytes."""

_MOST_AXES = 8
_LONGEST_AXIS = 2**40


def plain_array(content: bytes, code: str, order: str, shape: Any, *, fortran: bool = False) -> np.ndarray:
    """The array of that code, byte order (``"<"``, ``">"``, ``"|"``, ``"="``) and shape in `content`, in C order.

    Raises
    ------
    ValueError
        The code is none of `CODES`, the shape is none, or the bytes are more or fewer than it needs.
    """
    if code not in CODES or order not in ("<", ">", "|", "="):
        raise ValueError(f"numbers of kind {order + code!r} are not read; these are: {', '.join(CODES)}")
    whole = isinstance(shape, tuple) and all(type(n) is int and 0 <= n <= _LONGEST_AXIS for n in shape)
    if not whole or len(shape) > _MOST_AXES:
        raise ValueError(f"its shape is not of at most {_MOST_AXES} whole numbers")  # not shown: it may never end
    wanted = math.prod(shape) * CODES[code]
    if len(content) != wanted:
        raise ValueError(f"shape {shape} of {code} needs {wanted:,} bytes, there are {len(content):,}")
    if code == "b1" and content.translate(None, b"\0\1"):
        raise ValueError("booleans other than 0 and 1")
    given = order if CODES[code] > 1 and order != "|" else "="
    found = np.frombuffer(content, np.dtype(given + code)).astype(np.dtype(code))  # a copy: bytes cannot be written to
    return np.ascontiguousarray(found.reshape(shape, order="F" if fortran else "C"))


class Kind(Buildable):
    """Stands for a `numpy.dtype` in a pickle: a code, and the byte order that its state gives."""

    def __init__(self, code: object, align: object = False, copy: object = True) -> None:
        if not isinstance(align, int) or not isinstance(copy, int):
            raise RefusedError("describes numbers in an unknown way")
        text = code.decode("latin1") if isinstance(code, bytes) else code
        self.order = "="
        if isinstance(text, str) and text[:1] in ("<", ">", "|", "="):
            self.order, text = text[0], text[1:]
        if not isinstance(text, str) or text not in CODES:
            shown = f"{text[:20]!r}" if isinstance(text, str) else type(text).__name__
            raise RefusedError(f"holds numbers of the kind {shown}")
        self.code = text

    def build(self, state: Any) -> None:
        # (version, byte order, subarray, names, fields, item size, alignment, flags[, metadata]), as numpy writes it
        # for plain numbers; anything else describes fields, objects or sizes that a plain number does not have.
        plain = isinstance(state, tuple) and len(state) in (8, 9) and state[2:] in (_PLAIN, (*_PLAIN, None))
        order = state[1] if plain else None
        order = order.decode("latin1") if isinstance(order, bytes) else order
        if not plain or type(state[0]) is not int or order not in ("<", ">", "|", "="):
            raise RefusedError("holds numbers with fields, objects or sizes of their own")
        self.order = order

    def __setstate__(self, state: object) -> None:
        """As `build`: what torch's reader of weights calls."""
        self.build(state)


_PLAIN = (None, None, None, -1, -1, 0)


class Numbers(Buildable):
    """Stands for a `numpy.ndarray` in a pickle until its state says what it holds."""

    array: np.ndarray | None = None

    def build(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise RefusedError("fills an array in an unknown way")
        version, shape, kind, fortran, content = state
        if type(version) is not int or not isinstance(fortran, int):
            raise RefusedError("fills an array in an unknown way")
        self.array = _filled(content, kind, shape, fortran=bool(fortran))


def _filled(content: object, kind: object, shape: object, *, fortran: bool) -> np.ndarray:
    if not isinstance(content, bytes) or not isinstance(kind, Kind):
        raise RefusedError("builds an array of something else than bytes")
    try:
        return plain_array(content, kind.code, kind.order, shape, fortran=fortran)
    except ValueError as error:
        raise RefusedError(f"holds an array that cannot be: {error}") from None


def _empty(kind: object, shape: object, code: object) -> Numbers:  # noqa: ARG001 - the state that follows says both
    """Stands for ``numpy._reconstruct``."""
    if getattr(kind, "make", None) is not _no_array:
        raise RefusedError(f"rebuilds a {type(kind).__name__} as an array")
    return Numbers()


def _from_buffer(content: object, kind: object, shape: object, order: object) -> Numbers:
    """Stands for ``numpy._frombuffer``, which pickles of protocol 5 use."""
    if order not in ("C", "F"):
        raise RefusedError("orders an array in an unknown way")
    found = Numbers()
    found.array = _filled(content, kind, shape, fortran=order == "F")
    return found


def number(kind: object, content: object) -> Any:
    """Stands for numpy's ``scalar``: one number, as Python's."""
    content = content.encode("latin1") if isinstance(content, str) else content  # as torch reads it
    return _filled(content, kind, (), fortran=False).item()


def _no_array(*_: object) -> Any:
    raise RefusedError("makes an array by itself")


def _bytes_of(text: object, encoding: object) -> bytes:
    """Stands for ``_codecs.encode``: how pickles that python 2 can read write bytes."""
    if encoding not in ("latin1", b"latin1") or not isinstance(text, str):
        raise RefusedError("encodes text in another way than bytes are written")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    return b""


MAKERS: Makers = {
    ("numpy", "ndarray"): _no_array,
    ("numpy", "dtype"): Kind,
    ("_codecs", "encode"): _bytes_of,
    ("__builtin__", "bytes"): _no_bytes,  # how protocols 0 to 2 write b""
    # numpy moved these between modules over the years; a pickle names them as they were when it was made.
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _from_buffer for core in ("core", "_core")},
}
