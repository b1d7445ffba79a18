"""Libraries that run in the browser, taken from the Python packages that carry them, not from a network."""

from functools import cache


@cache
def script(name: str) -> str:
    """A script that sets ``globalThis[name]`` unless the page has it already.

    Raises
    ------
    ValueError
        No such library is known; "Plotly" is.
    """
    if name != "Plotly":
        raise ValueError(f"library is {name!r}; there is 'Plotly'")
    from plotly.offline import get_plotlyjs  # noqa: PLC0415 - importing plotly takes a while, and few views need it

    # Wrapped as a module of its own, so that neither a page's `define` nor its `module` catches it.
    source = f"{get_plotlyjs()}\nreturn module.exports;"
    return f"globalThis.{name} ??= ((module, exports, define) => {{\n{source}\n}})({{ exports: {{}} }});"
