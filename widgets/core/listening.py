"""Traits that make an explorer compute: set quietly, and set back where what they ask for cannot be computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets


class Listening(traitlets.HasTraits):
    """Part of an explorer that computes at once when a trait is set from Python, once it is set up."""

    _listening = False

    @contextmanager
    def unheard(self) -> Iterator[None]:
        """What is set inside asks for nothing."""
        listening, self._listening = self._listening, False
        try:
            yield
        finally:
            self._listening = listening

    @contextmanager
    def or_back(self, change: Any) -> Iterator[None]:
        """If what is done inside fails, the trait has its old value again, and the error goes on."""
        try:
            yield
        except Exception:
            with self.unheard():
                setattr(self, change.name, change.old)
            raise
