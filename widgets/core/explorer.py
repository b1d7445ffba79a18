"""What every explorer is: a widget with a selection, a spec, a table, a page and a picture of what it shows."""

import base64
import difflib
import io
import json
import os
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

import anywidget
import pandas as pd
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from widgets.core.explaining import Step
from widgets.core.jobs import Job, Jobs
from widgets.core.libraries import script
from widgets.core.modules import ROOT, compose, styles
from widgets.core.naming import cut, cut_texts
from widgets.core.page import page
from workbench.records.writing import written

PROTOCOL = 1
"""The version that both halves must agree on; ``parts/frame.js`` has the other copy."""


def tagged(cls: type) -> tuple[str, ...]:
    """Names of a class's traits that are settings, in the order in which they stand in it, then in its bases."""
    found: dict[str, None] = {}
    for base in cls.__mro__:
        for name, trait in vars(base).items():
            if isinstance(trait, traitlets.TraitType) and trait.metadata.get("setting"):
                found[name] = None
    return tuple(found)


class Explorer(anywidget.AnyWidget):
    """Base of the explorers. A subclass names its two halves and its settings, fills `content` and `arrays`, and draws.

    Subclasses set ``entry`` (their module) and ``sheets`` (their style sheets), tag the traits that are part of a view
    with ``setting=True``, and write `data`, `summary` and `figure`. Traits are live in both directions.

    Parameters
    ----------
    **options
        Values for the traits in ``settings``, and `title`.

    Raises
    ------
    TypeError
        An option that this explorer does not have; the message names the one that was probably meant.
    """

    entry: ClassVar[str] = ""
    sheets: ClassVar[tuple[str, ...]] = ("parts/base.css",)
    settings: ClassVar[tuple[str, ...]] = ("selection",)
    """The traits that are part of a view, options and in `spec()`: `selection`, and those tagged ``setting=True``."""
    libraries: ClassVar[tuple[str, ...]] = ()
    """Names of libraries that the browser may ask for, and that a page made by `to_html` carries."""

    _esm: ClassVar[str]
    _css: ClassVar[str]

    protocol = traitlets.Int(PROTOCOL).tag(sync=True)
    title = traitlets.Unicode("", help="Heading of the view.").tag(sync=True)
    content = traitlets.Dict(help="What is drawn: names and plain values that refer to `arrays`.").tag(sync=True)
    arrays = traitlets.Dict(help="Raw bytes, dtype and shape of each array; sent once.").tag(sync=True)
    selection = traitlets.Dict(help="What is pinned, and where the timeline stands.").tag(sync=True)
    recipe = traitlets.Dict(help="What the code view needs: the call and the defaults of the settings.").tag(sync=True)
    source = traitlets.Unicode("record", help="How the code view writes the records.").tag(sync=True)
    actions = traitlets.List(traitlets.Unicode(), help="Names of what can be computed on demand.").tag(sync=True)
    projector = traitlets.Bool(False, help="Type, lines and points as large as a lecture room needs them.").tag(
        sync=True, setting=True
    )
    play = traitlets.Bool(True, help="Play the timeline once when the view is first seen.").tag(sync=True, setting=True)
    guide: traitlets.List = traitlets.List(help="The steps of `explain`, as last told.").tag(sync=True)
    error = traitlets.Unicode("", help="Traceback of the last failed callback; empty after a success.").tag(sync=True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "entry" in cls.__dict__:  # traitlets derives a class per instance, whose traits these must not hide
            cls._esm = compose(cls.entry)
            cls._css = styles(*cls.sheets)
            cls.settings = ("selection", *tagged(cls))
        super().__init_subclass__(**kwargs)

    def __init__(
        self,
        *,
        content: dict[str, Any],
        arrays: dict[str, Any],
        start: dict[str, Any],
        actions: Mapping[str, Callable[[Job], Any]] | None = None,
        **options: Any,
    ) -> None:
        known = (*self.settings, "title")
        for name in options:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
                raise TypeError(f"{type(self).__name__} has no option {name!r}; {hint}")
        self._actions = dict(actions or {})
        self._defaults: dict[str, Any] = {}
        super().__init__(content=content, arrays=arrays, actions=list(self._actions))
        self._jobs = Jobs(self.send, self._show_error)
        self.selection = start
        self._defaults = {name: getattr(self, name) for name in self.settings}
        self.recipe = {"call": f"widgets.{type(self).__name__}", "defaults": self._defaults}
        for name, value in options.items():
            setattr(self, name, value)
        self.on_msg(self._answer)

    # What a subclass writes ---------------------------------------------------------------------------------------

    def data(self) -> pd.DataFrame:
        """What is seen now, as a table: one row per mark."""
        raise NotImplementedError

    def summary(self) -> str:
        """One line of plain text: what is seen now."""
        raise NotImplementedError

    def figure(self) -> Figure:
        """A static picture of the current view."""
        raise NotImplementedError

    def explain(self) -> list[Step]:
        """The steps by which the view explains itself, with the numbers of the record as it is now."""
        raise NotImplementedError

    def received(self, name: str, result: Any) -> Any:  # noqa: ARG002 - `name` is for subclasses with several actions
        """Take in what the action `name` computed; returns a plain value for the view that asked."""
        return result

    # What every explorer can do -----------------------------------------------------------------------------------

    def spec(self) -> str:
        """The call that recreates this view: ``eval`` it where ``widgets`` and the records are known.

        Inside IPython the records are called what the notebook calls them.
        """
        changed = []
        for name in self.settings:
            value, default = getattr(self, name), self._defaults[name]
            if isinstance(value, dict):  # of a selection only what differs: the rest starts out like that
                value, default = {key: item for key, item in value.items() if item != default.get(key)}, {}
            if value != default:
                changed.append(f"{name}={value!r}")
        return f"widgets.{type(self).__name__}({', '.join([self.source, *changed])})"

    def to_html(self, path: str | os.PathLike | None = None) -> Path | str:
        """Write the view as one file that lives without Jupyter and loads nothing; without a path, return its text."""
        self._retell()
        text = page(
            entry=self.entry,
            state={name: getattr(self, name) for name in self._state_names()},
            css=styles(*self.sheets),
            title=cut(self.title),
            text=self.summary(),
            libraries=tuple(script(name) for name in self.libraries),
        )
        if path is None:
            return text
        with written(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
        return Path(path)

    def to_png(self, path: str | os.PathLike, dpi: int = 160) -> Path:
        """Draw the current view into a PNG, whole or not at all; needs no browser. Returns the path."""
        picture = self._png(dpi)
        with written(path) as unfinished:
            unfinished.write_bytes(picture)
        return Path(path)

    def link(self, other: "Explorer", trait: str = "selection") -> Callable[[], None]:
        """Keep a trait of two explorers equal, in both directions; of two selections, the keys that both have.

        Returns
        -------
        A function that ends the link.
        """
        for explorer in (self, other):
            if not explorer.has_trait(trait):
                raise ValueError(f"{type(explorer).__name__} has no trait {trait!r} to link")
        shared = self.selection.keys() & other.selection.keys() if trait == "selection" else set()
        if trait == "selection" and not shared:
            raise ValueError(
                f"the selections of {type(self).__name__} and {type(other).__name__} have nothing in common"
            )

        def copier(target: Explorer) -> Callable[[Any], None]:
            def copy(change: Any) -> None:
                value = {key: change.new[key] for key in shared} if shared else change.new
                if shared and not target.accepts(value):
                    return  # the other record has no such epoch or layer: its view stays where it is
                setattr(target, trait, value)

            return copy

        there, back = copier(other), copier(self)
        self.observe(there, trait)
        other.observe(back, trait)

        def unlink() -> None:
            self.unobserve(there, trait)
            other.unobserve(back, trait)

        return unlink

    def accepts(self, selection: dict[str, Any]) -> bool:
        """This explorer could show `selection`."""
        try:
            self._checked_selection(selection)
        except traitlets.TraitError:
            return False
        return True

    def _checked_selection(self, selection: dict[str, Any]) -> dict[str, Any]:
        """The whole selection that `selection` asks for; keys it leaves out stay as they are."""
        raise NotImplementedError

    @traitlets.validate("selection")
    def _valid_selection(self, proposal: Any) -> dict[str, Any]:
        return self._checked_selection(dict(proposal.value))

    def _state_names(self) -> list[str]:
        others = ("protocol", "title", "content", "arrays", "recipe", "source", "error", "selection", "guide")
        return [*self.settings, *others]

    def _retell(self) -> None:
        self.guide = [step.plain() for step in self.explain()]

    def _png(self, dpi: int) -> bytes:
        figure = cut_texts(self.figure())
        FigureCanvasAgg(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
        return buffer.getvalue()

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """The live view, and for readers without a kernel a picture and a line of text."""
        bundle = super()._repr_mimebundle_(**kwargs)
        if bundle is None:
            return None
        formats, metadata = bundle
        self._retell()  # a saved notebook explains itself without a kernel
        formats["text/plain"] = self.summary()
        formats["image/png"] = base64.b64encode(self._png(110)).decode("ascii")
        return formats, metadata

    # Hearing from the browser -------------------------------------------------------------------------------------

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """Take in what the browser changed. What an observer raises is shown in the widget, where the reader looks."""
        try:
            super().set_state(sync_data)
        except Exception:  # noqa: BLE001 - an observer may raise anything; in a comm handler it would vanish in a log
            self._show_error(traceback.format_exc())
        else:
            if "error" not in sync_data:
                self._show_error("")

    def _show_error(self, text: str) -> None:
        if self.error != text:
            self.error = text

    def _answer(self, _widget: Self, message: Any, _buffers: Any) -> None:
        match message:
            case {"type": "hello", "protocol": int(version)} if version != PROTOCOL:
                self._show_error(
                    f"The browser runs version {version} of this widget, Python {PROTOCOL}: reload this browser tab."
                )
            case {"type": "request", "id": str(identity), "name": str(name), **rest}:
                details: Any = rest.get("details")
                self._jobs.start(identity, lambda job: self._perform(name, job), name=name, details=details)
            case {"type": "library", "name": str(name)} if name in self.libraries:
                self.send({"type": "library", "name": name}, [script(name).encode()])
            case {"type": "stop", "id": str(identity)}:
                self._jobs.stop(identity)

    def _perform(self, name: str, job: Job) -> Any:
        if name == "to_html":
            return self.to_html()
        if name == "explain":
            return self._retell()
        if name not in self._actions:
            raise KeyError(f"{type(self).__name__} has nothing to compute called {name!r}")
        return self.received(name, self._actions[name](job))


def versions() -> dict[str, int]:
    """The protocol version of the Python half and of the browser half; they are equal in a sound installation.

    Examples
    --------
    >>> halves = versions()
    >>> halves["python"] == halves["javascript"]
    True
    """
    source = (ROOT / "parts" / "frame.js").read_text(encoding="utf-8")
    line = next(line for line in source.splitlines() if line.startswith("export const PROTOCOL = "))
    return {"python": PROTOCOL, "javascript": json.loads(line.removeprefix("export const PROTOCOL = ").rstrip(";"))}


def name_in_notebook(record: object, fallback: str) -> str:
    """What the running notebook calls `record`, so that the code view can be pasted; `fallback` elsewhere."""
    try:
        from IPython import get_ipython  # noqa: PLC0415 - absent outside Jupyter
    except ImportError:
        return fallback
    shell = get_ipython()
    namespace = {} if shell is None else shell.user_ns
    return next((name for name, value in namespace.items() if value is record and not name.startswith("_")), fallback)
