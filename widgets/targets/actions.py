"""What the explorer of diffusion targets computes on demand: a request's name → a function of the explorer and a `Job`.

The details of a request come from the browser: each is checked here before anything is computed with it.
"""

from collections.abc import Callable
from typing import Any

ACTIONS: dict[str, Callable[..., Any]] = {}
