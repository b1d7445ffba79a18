"""The explorer of similarity maps: which layers of two networks see alike, when, and why."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import traitlets
from matplotlib.figure import Figure

from widgets.core.checks import require_known, require_records
from widgets.core.explaining import Step
from widgets.core.explorer import Explorer, name_in_notebook
from widgets.core.jobs import Job
from widgets.features import explain, picture
from widgets.features.content import content_of, measure_label, networks_of, title_of
from workbench.records import SimilarityMap


class Seen(NamedTuple):
    """What is shown of one pair of networks: `matrix` (La, Lb), `intervals` (La, Lb, 2); None where there are none."""

    title: str
    record: SimilarityMap | None
    matrix: np.ndarray | None
    intervals: np.ndarray | None


class FeatureSimilarityExplorer(Explorer):
    """Layer by layer heat map of one or two pairs of networks, with what each layer makes of the examples.

    Parameters
    ----------
    maps
        One similarity map, or several: maps of the same networks under different measures become a switch; maps of two
        pairs of networks are compared cell by cell.
    actions
        What can be computed on demand: a name for the button → a function of a `Job` that returns a similarity map (of
        the same networks: it joins or replaces what is shown) or None.
    **options
        `selection` (``{"layer_a", "layer_b", "epoch", "example"}``, each may be None or left out), `measure`,
        `class_name` (``""``: all), `best_match`, `diagonal`, `numbers`, `stretch`, `colour_map`, `title`.

    Raises
    ------
    TypeError
        An unknown option, or something that is no similarity map.
    ValueError
        Maps of more than two pairs of networks.

    Examples
    --------
    >>> import torch
    >>> similar = SimilarityMap(values=torch.eye(2), layers_a=("c1", "c2"), layers_b=("f1", "f2"), measure="cka", n=100)
    >>> explorer = FeatureSimilarityExplorer(similar, diagonal=True)
    >>> explorer.selection = {"layer_a": "c1", "layer_b": "f2"}
    >>> explorer.spec()
    "widgets.FeatureSimilarityExplorer(similar, selection={'layer_a': 'c1', 'layer_b': 'f2'}, diagonal=True)"
    >>> explorer.data().query("layer_a == 'c1'").value.tolist()
    [1.0, 0.0]
    """

    entry = "features/explorer.js"
    sheets = ("parts/base.css", "parts/matrix.css")

    measure = traitlets.Unicode(help="Which measure is shown, as the switch names it.").tag(sync=True, setting=True)
    class_name = traitlets.Unicode("", help="Only examples of this class; empty: all of them.").tag(
        sync=True, setting=True
    )
    best_match = traitlets.Bool(True, help="Outline the most similar layer of each row.").tag(sync=True, setting=True)
    diagonal = traitlets.Bool(False, help="Draw the line of equal relative depth.").tag(sync=True, setting=True)
    numbers = traitlets.Bool(False, help="Write the values into cells that are large enough.").tag(
        sync=True, setting=True
    )
    stretch = traitlets.Bool(True, help="Colours span the values there are, not 0 to 1.").tag(sync=True, setting=True)
    colour_map = traitlets.Enum(["viridis", "cividis"], "viridis", help="Colours of the heat map.").tag(
        sync=True, setting=True
    )

    def __init__(
        self,
        maps: SimilarityMap | Sequence[SimilarityMap],
        *,
        actions: Mapping[str, Callable[[Job], SimilarityMap | None]] | None = None,
        **options: Any,
    ) -> None:
        several = [maps] if isinstance(maps, SimilarityMap) else list(maps)
        require_records("FeatureSimilarityExplorer", several, SimilarityMap)
        self._maps = several
        content, arrays = content_of(several)
        self._content = content
        super().__init__(content=content, arrays=arrays, start=self._nothing(), actions=actions, **options)
        names = [
            name_in_notebook(item, "similar" if len(several) == 1 else f"similar_{k + 1}")
            for k, item in enumerate(several)
        ]
        self.source = names[0] if isinstance(maps, SimilarityMap) else name_in_notebook(maps, f"[{', '.join(names)}]")
        if not self.title:
            self.title = title_of(content["pairs"])

    @traitlets.default("measure")
    def _first_measure(self) -> str:
        return self._content["measures"][0]

    def _nothing(self) -> dict[str, Any]:
        epochs = self._content["epochs"]
        return {"layer_a": None, "layer_b": None, "epoch": epochs[-1] if epochs else None, "example": None}

    def _checked_selection(self, selection: dict[str, Any]) -> dict[str, Any]:
        whole = self._nothing()
        require_known("selection key", list(selection), list(whole), several=True)
        whole |= {key: self.selection[key] for key in whole if key in self.selection} | selection
        pairs = self._content["pairs"]
        for key, side in (("layer_a", "layers_a"), ("layer_b", "layers_b")):
            if whole[key] is not None:
                require_known(key, [whole[key]], list(dict.fromkeys(layer for pair in pairs for layer in pair[side])))
        epochs = self._content["epochs"]
        if whole["epoch"] is not None or epochs:
            require_known("epoch", [whole["epoch"]], epochs)
        examples = 0 if self._content["examples"] is None else self._content["examples"]["count"]
        example = whole["example"]
        if example is not None and not (isinstance(example, int) and 0 <= example < examples):
            raise traitlets.TraitError(
                f"example is {example!r}; this record keeps examples 0 to {examples - 1}"
                if examples
                else "this record keeps no examples: example can only be None"
            )
        return whole

    @traitlets.validate("measure")
    def _valid_measure(self, proposal: Any) -> str:
        require_known("measure", [proposal.value], self._content["measures"])
        return proposal.value

    @traitlets.validate("class_name")
    def _valid_class(self, proposal: Any) -> str:
        if proposal.value:
            have = [
                name for pair in self._content["pairs"] for one in pair["measures"].values() for name in one["classes"]
            ]
            if not have:
                raise traitlets.TraitError("class_name can only be '': this record was made without per_class=True")
            require_known("class_name", [proposal.value], list(dict.fromkeys(have)))
        return proposal.value

    def received(self, name: str, result: Any) -> None:
        """Show the similarity map that an action made: it replaces the map of the same networks and measure."""
        if result is None:
            return
        if not isinstance(result, SimilarityMap):
            raise TypeError(
                f"the action {name!r} returned a {type(result).__name__}; it must return a SimilarityMap or None"
            )
        key = networks_of(result), measure_label(result)
        maps = [result if (networks_of(item), measure_label(item)) == key else item for item in self._maps]
        if all(item is not result for item in maps):
            maps.append(result)
        content, arrays = content_of(maps)
        self._maps, self._content = maps, content
        with self.hold_sync():
            self.arrays, self.content = arrays, content
            if content["epochs"] and self.selection["epoch"] not in content["epochs"]:
                self.selection = {"epoch": content["epochs"][-1]}

    # What is seen ---------------------------------------------------------------------------------------------------

    def moments(self) -> range:
        """The positions of the timeline."""
        return range(max(1, len(self._content["epochs"])))

    def seen(self, when: int | None = None) -> list[Seen]:
        """What is shown of each pair of networks, now or at a position of the timeline."""
        epochs = self._content["epochs"]
        if when is None:
            when = epochs.index(self.selection["epoch"]) if epochs else 0
        found = []
        for pair in self._content["pairs"]:
            index = pair["measures"].get(self.measure, {}).get("map")
            record = None if index is None else self._maps[index]
            values = intervals = None
            if record is not None:
                values, intervals = self._slice(record, pair["slices"][when])
            found.append(Seen(pair["title"], record, values, intervals))
        return found

    def _slice(self, record: SimilarityMap, at: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        if self.class_name:
            if record.per_class is None or self.class_name not in record.classes:
                return None, None
            stack = record.per_class if record.epochs else record.per_class[None]
            return stack[at, record.classes.index(self.class_name)].cpu().numpy(), None
        intervals = None
        if record.intervals is not None:
            intervals = record.intervals.reshape(*record.stack.shape, 2)[at].cpu().numpy()
        return record.stack[at].cpu().numpy(), intervals

    def difference(self, when: int | None = None) -> pd.DataFrame | None:
        """Second map minus first map over the layers that both have; None where that cannot be said."""
        matched = self._content["difference"]
        values = [shown.matrix for shown in self.seen(when) if shown.matrix is not None]
        if not matched or "reason" in matched or len(values) < 2:
            return None
        rows, columns = matched["rows"], matched["columns"]
        first, second = (
            values[k][np.ix_([row[key] for row in rows], [column[key] for column in columns])]
            for k, key in enumerate(("first", "second"))
        )
        return pd.DataFrame(second - first, [row["layer"] for row in rows], [column["layer"] for column in columns])

    def data(self) -> pd.DataFrame:
        """One row per cell: `layer_a`, `layer_b`, `value`, with `low` and `high` where there are intervals.

        For two maps also `pair`, with the difference as a third one.
        """
        frames = []
        seen = self.seen()
        for title, record, values, intervals in seen:
            if record is None or values is None:
                continue
            index = pd.MultiIndex.from_product([record.layers_a, record.layers_b], names=["layer_a", "layer_b"])
            frame = pd.DataFrame({"value": values.ravel().astype(float)}, index=index).reset_index()
            if intervals is not None and len(seen) == 1:
                frame["low"], frame["high"] = intervals.reshape(-1, 2).T.astype(float)
            if len(seen) > 1:
                frame.insert(0, "pair", title)
            frames.append(frame)
        if (shift := self.difference()) is not None:
            index = pd.MultiIndex.from_product([shift.index, shift.columns], names=["layer_a", "layer_b"])
            long = pd.DataFrame({"value": shift.to_numpy().ravel().astype(float)}, index=index).reset_index()
            long.insert(0, "pair", "difference")
            frames.append(long)
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=["layer_a", "layer_b", "value"])

    def summary(self) -> str:
        epoch = self.selection["epoch"]
        parts = []
        for title, record, values, _ in self.seen():
            if record is None or values is None or np.isnan(values).all():
                parts.append(f"{title}: no value")
                continue
            row, column = np.unravel_index(np.nanargmax(values), values.shape)
            parts.append(
                f"{title}: mean {np.nanmean(values):.2f} over {len(record.layers_a)} × {len(record.layers_b)} layers "
                f"and {record.n:,} examples, most alike {record.layers_a[row]} and {record.layers_b[column]} "
                f"({values[row, column]:.2f})"
            )
        within = f" within {self.class_name}" if self.class_name else ""
        moment = "" if epoch is None else f" at epoch {epoch}"
        return f"{self.measure}{within}{moment}: {'; '.join(parts)}"

    def explain(self) -> list[Step]:
        return explain.steps(self)

    def figure(self) -> Figure:
        return picture.draw(self)
