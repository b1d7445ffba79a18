"""Names as they are shown: a stranger's file may call a class by ten thousand letters; as `cut` of parts/dom.js."""

from collections.abc import Callable
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

LONGEST = 120
"""Letters of a line that are shown; a longer one is cut in its middle, since both ends say which it is."""


def cut(name: str, most: int = LONGEST) -> str:
    """At most `most` letters of a name.

    Examples
    --------
    >>> cut("layer4.1.conv2.weight", most=12)
    'laye….weight'
    """
    if len(name) <= most:
        return name
    head = int((most - 1) * 0.45)
    return f"{name[:head]}…{name[len(name) - (most - 1 - head) :]}"


def cut_texts(figure: Figure) -> Figure:
    """Cut every long line that a figure would write: laying one out takes longer than drawing all else."""
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_text(_lines(text.get_text()))
    for axes in figure.findobj(Axes):
        assert isinstance(axes, Axes)
        for axis in (axes.xaxis, axes.yaxis):
            for formatter in (axis.get_major_formatter(), axis.get_minor_formatter()):
                if isinstance(formatter, FixedFormatter):
                    formatter.seq = [_lines(str(name)) for name in formatter.seq]
                elif isinstance(formatter, FuncFormatter):
                    formatter.func = partial(_cut_tick, formatter.func)
    return figure


def _lines(text: str) -> str:
    return "\n".join(cut(line, 2 * LONGEST) for line in text.split("\n"))


def _cut_tick(write: Callable[[Any, Any], Any], value: Any, position: Any) -> str:
    return _lines(str(write(value, position)))
