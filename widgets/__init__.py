"""Explorers: Jupyter widgets that look inside a record of the workbench.

``widgets.explore(record)`` picks the explorer by the record's type. ``import widgets`` is instant: ipywidgets, torch
and the explorers load when the first one is asked for.
"""

import lazy_loader as _lazy

__getattr__, __dir__, __all__ = _lazy.attach_stub(__name__, __file__)
