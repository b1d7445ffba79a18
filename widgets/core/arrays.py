"""Arrays as they travel to the browser: raw bytes with a dtype and a shape, each once."""

import hashlib
from typing import Any

import numpy as np

DTYPES = ("float32", "float64", "int8", "uint8", "int32")


class Arrays:
    """Collects arrays under short names; an array that is already there is not sent a second time.

    Examples
    --------
    >>> arrays = Arrays()
    >>> arrays.add(np.eye(2), "float32") == arrays.add(np.eye(2), "float32")
    True
    >>> arrays.packed["x0"]["shape"]
    [2, 2]
    """

    def __init__(self) -> None:
        self.packed: dict[str, dict[str, Any]] = {}
        self._known: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(self, array: Any, dtype: str) -> str:
        """Pack an array or tensor as `dtype`, one of `DTYPES`; returns the name it travels under."""
        if dtype not in DTYPES:
            raise ValueError(f"dtype is {dtype!r}; the browser reads {', '.join(DTYPES)}")
        if hasattr(array, "detach"):
            array = array.detach().cpu()
            array = (array.float() if str(array.dtype) == "torch.bfloat16" else array).numpy()  # numpy has no bfloat16
        values = np.ascontiguousarray(array, dtype=np.dtype(dtype).newbyteorder("<"))
        data = values.tobytes()
        key = (dtype, values.shape, hashlib.sha256(data).digest())
        if key not in self._known:
            self._known[key] = f"x{len(self._known)}"
            self.packed[self._known[key]] = {"dtype": dtype, "shape": list(values.shape), "data": data}
        return self._known[key]
