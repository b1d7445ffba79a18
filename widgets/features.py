"""The explorer of similarity maps: which layers of two networks see alike, when, and why."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import traitlets
from matplotlib.figure import Figure

from widgets import features_picture
from widgets.arrays import Arrays
from widgets.explorer import Explorer, name_in_notebook
from widgets.jobs import Job
from workbench.records import LayerViews, SimilarityMap

MEASURES = {
    "cka": "CKA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "procrustes": "Procrustes",
    "rsa": "RSA",
    "mknn": "mutual k-NN",
}


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
    "widgets.FeatureSimilarityExplorer(similar, selection={'layer_a': 'c1', 'layer_b': 'f2', 'epoch': None, 'example': None}, diagonal=True)"
    >>> explorer.data().query("layer_a == 'c1'").value.tolist()
    [1.0, 0.0]
    """

    entry = "features.js"
    sheets = ("parts/base.css", "features.css")
    settings = ("selection", "measure", "class_name", "best_match", "diagonal", "numbers", "stretch", "colour_map")

    measure = traitlets.Unicode(help="Which measure is shown, as the switch names it.").tag(sync=True)
    class_name = traitlets.Unicode("", help="Only examples of this class; empty: all of them.").tag(sync=True)
    best_match = traitlets.Bool(True, help="Outline the most similar layer of each row.").tag(sync=True)
    diagonal = traitlets.Bool(False, help="Draw the line of equal relative depth.").tag(sync=True)
    numbers = traitlets.Bool(False, help="Write the values into cells that are large enough.").tag(sync=True)
    stretch = traitlets.Bool(False, help="Colours span the values there are, not 0 to 1.").tag(sync=True)
    colour_map = traitlets.Enum(["viridis", "cividis"], "viridis", help="Colours of the heat map.").tag(sync=True)

    def __init__(
        self,
        maps: SimilarityMap | Sequence[SimilarityMap],
        *,
        actions: Mapping[str, Callable[[Job], SimilarityMap | None]] | None = None,
        **options: Any,
    ) -> None:
        several = [maps] if isinstance(maps, SimilarityMap) else list(maps)
        for item in several or [None]:
            if not isinstance(item, SimilarityMap):
                raise TypeError(
                    f"FeatureSimilarityExplorer draws a SimilarityMap or a list of them, not a {type(item).__name__}"
                )
        self._maps = several
        content, arrays = _content(several)
        self._content = content
        super().__init__(content=content, arrays=arrays, start=self._nothing(), actions=actions, **options)
        names = [
            name_in_notebook(item, "similar" if len(several) == 1 else f"similar_{k + 1}")
            for k, item in enumerate(several)
        ]
        self.source = names[0] if isinstance(maps, SimilarityMap) else name_in_notebook(maps, f"[{', '.join(names)}]")
        if not self.title:
            self.title = _title(content["pairs"])

    @traitlets.default("measure")
    def _first_measure(self) -> str:
        return self._content["measures"][0]

    def _nothing(self) -> dict[str, Any]:
        epochs = self._content["epochs"]
        return {"layer_a": None, "layer_b": None, "epoch": epochs[-1] if epochs else None, "example": None}

    def _checked_selection(self, selection: dict[str, Any]) -> dict[str, Any]:
        whole = self._nothing()
        _known("selection key", list(selection), list(whole), several=True)
        whole |= {key: self.selection[key] for key in whole if key in self.selection} | selection
        pairs = self._content["pairs"]
        for key, side in (("layer_a", "layers_a"), ("layer_b", "layers_b")):
            if whole[key] is not None:
                _known(key, [whole[key]], list(dict.fromkeys(layer for pair in pairs for layer in pair[side])))
        epochs = self._content["epochs"]
        if whole["epoch"] is not None or epochs:
            _known("epoch", [whole["epoch"]], epochs)
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
        _known("measure", [proposal.value], self._content["measures"])
        return proposal.value

    @traitlets.validate("class_name")
    def _valid_class(self, proposal: Any) -> str:
        if proposal.value:
            have = [
                name for pair in self._content["pairs"] for one in pair["measures"].values() for name in one["classes"]
            ]
            if not have:
                raise traitlets.TraitError("class_name can only be '': this record was made without per_class=True")
            _known("class_name", [proposal.value], list(dict.fromkeys(have)))
        return proposal.value

    def received(self, name: str, result: Any) -> None:
        """Show the similarity map that an action made: it replaces the map of the same networks and measure."""
        if result is None:
            return
        if not isinstance(result, SimilarityMap):
            raise TypeError(
                f"the action {name!r} returned a {type(result).__name__}; it must return a SimilarityMap or None"
            )
        kept = [item for item in self._maps if (_identity(item), _label(item)) != (_identity(result), _label(result))]
        maps = (
            [*kept, result]
            if len(kept) == len(self._maps)
            else [
                result if (_identity(item), _label(item)) == (_identity(result), _label(result)) else item
                for item in self._maps
            ]
        )
        content, arrays = _content(maps)
        self._maps, self._content = maps, content
        with self.hold_sync():
            self.arrays = arrays
            self.content = content

    # What is seen ---------------------------------------------------------------------------------------------------

    def seen(self) -> list[tuple[str, SimilarityMap | None, np.ndarray | None, np.ndarray | None]]:
        """For each pair of networks: title, map, values (La, Lb) and intervals (La, Lb, 2) as shown now; None where absent."""
        found: list[tuple[str, SimilarityMap | None, np.ndarray | None, np.ndarray | None]] = []
        epochs = self._content["epochs"]
        when = epochs.index(self.selection["epoch"]) if epochs else 0
        for pair in self._content["pairs"]:
            index = pair["measures"].get(self.measure, {}).get("map")
            record = None if index is None else self._maps[index]
            values = intervals = None
            if record is not None:
                slice_ = pair["slices"][when]
                if self.class_name:
                    if record.per_class is not None and self.class_name in record.classes:
                        stack = record.per_class if record.epochs else record.per_class[None]
                        values = stack[slice_, record.classes.index(self.class_name)].cpu().numpy()
                else:
                    values = record.stack[slice_].cpu().numpy()
                    if record.intervals is not None:
                        intervals = record.intervals.reshape(*record.stack.shape, 2)[slice_].cpu().numpy()
            found.append((pair["title"], record, values, intervals))
        return found

    def difference(self) -> pd.DataFrame | None:
        """Second map minus first map over the layers that both have; None where that cannot be said."""
        matched = self._content["difference"]
        seen = self.seen()
        if not matched or "reason" in matched or any(values is None for *_, values, _ in seen):
            return None
        first, second = seen[0][2], seen[1][2]
        assert first is not None
        assert second is not None
        rows, columns = matched["rows"], matched["columns"]
        grid = [[second[r["second"], c["second"]] - first[r["first"], c["first"]] for c in columns] for r in rows]
        return pd.DataFrame(grid, index=[r["layer"] for r in rows], columns=[c["layer"] for c in columns])

    def data(self) -> pd.DataFrame:
        """One row per cell: `layer_a`, `layer_b`, `value`, with `low` and `high` where there are intervals; for two maps
        also `pair`, with the difference as a third one."""
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
            long = (
                shift.rename_axis(index="layer_a", columns="layer_b")
                .stack(future_stack=True)
                .rename("value")
                .reset_index()
            )
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
                f"{title}: mean {np.nanmean(values):.2f} over {len(record.layers_a)} × {len(record.layers_b)} layers and "
                f"{record.n:,} examples, most alike {record.layers_a[row]} and {record.layers_b[column]} ({values[row, column]:.2f})"
            )
        return f"{self.measure}{f' within {self.class_name}' if self.class_name else ''}{'' if epoch is None else f' at epoch {epoch}'}: {'; '.join(parts)}"

    def figure(self) -> Figure:
        return features_picture.draw(self)


# From records to what travels -------------------------------------------------------------------------------------------


def _label(record: SimilarityMap) -> str:
    """The measure as the switch names it: "CKA (linear, debiased)"."""
    details = []
    for key, value in record.options.items():
        if value is True:
            details.append(key)
        elif isinstance(value, str):
            details.append(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            details.append(f"{key} {value:g}")
    name = MEASURES.get(record.measure, record.measure)
    return f"{name} ({', '.join(details)})" if details else name


def _identity(record: SimilarityMap) -> tuple[Any, ...]:
    return (record.name_a, record.name_b, record.layers_a, record.layers_b)


def _content(maps: Sequence[SimilarityMap]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What travels to the browser: plain values, and the arrays they refer to."""
    groups: list[tuple[tuple[Any, ...], dict[str, int]]] = []
    for index, record in enumerate(maps):
        label = _label(record)
        group = next((held for identity, held in groups if identity == _identity(record) and label not in held), None)
        if group is None:
            groups.append((_identity(record), group := {}))
        group[label] = index
    if len(groups) > 2:
        raise ValueError(
            f"these {len(maps)} maps compare {len(groups)} pairs of networks; two can be shown side by side: pass one or two of them"
        )
    arrays = Arrays()
    epochs = sorted({epoch for record in maps for epoch in record.epochs})
    keeper = next((record for record in maps if record.examples is not None), None)
    left_out: list[str] = []
    pairs = [
        _pair([(label, index, maps[index]) for label, index in held.items()], epochs, keeper, arrays, left_out)
        for _, held in groups
    ]
    _tell_apart(pairs)
    examples = None
    if keeper is not None and keeper.examples is not None:
        kept = keeper.examples
        examples = {
            "labels": arrays.add(kept.labels, "int32"),
            "images": None if kept.images is None else arrays.add(kept.images, "uint8"),
            "index": None if kept.index is None else arrays.add(kept.index, "int32"),
            "count": len(kept.labels),
        }
    classes = max((record.classes for record in maps), key=len)
    if examples and keeper is not None and keeper.examples is not None and not classes:
        classes = tuple(f"class {k}" for k in range(int(keeper.examples.labels.max()) + 1))
    content = {
        "pairs": pairs,
        "epochs": epochs,
        "measures": list(dict.fromkeys(label for _, held in groups for label in held)),
        "classes": list(classes),
        "examples": examples,
        "difference": _matching(pairs) if len(pairs) == 2 else None,
        "note": f"no clouds for {', '.join(left_out)}: other examples were kept there" if left_out else "",
    }
    return content, arrays.packed


def _pair(
    held: list[tuple[str, int, SimilarityMap]],
    epochs: list[int],
    keeper: SimilarityMap | None,
    arrays: Arrays,
    left_out: list[str],
) -> dict[str, Any]:
    record = held[0][2]
    for label, _, other in held:
        if other.epochs != record.epochs:
            raise ValueError(
                f"the maps of {record.name_a} and {record.name_b} stand at different epochs ({held[0][0]}: {record.epochs}, {label}: {other.epochs})"
            )
    viewer = next((one for _, _, one in held if one.views_a is not None and one.views_b is not None), record)
    same_examples = keeper is not None and _same_examples(keeper, viewer)
    if viewer.views_a is not None and not same_examples:
        left_out.append(f"{record.name_a} × {record.name_b}")
    return {
        "name_a": record.name_a,
        "name_b": record.name_b,
        "title": f"{record.name_a} × {record.name_b}",
        "layers_a": list(record.layers_a),
        "layers_b": list(record.layers_b),
        "own_epochs": list(record.epochs),
        # At an epoch that only the other pair has, this one shows its latest earlier epoch, and the status line says so.
        "slices": [max(sum(own <= epoch for own in record.epochs) - 1, 0) for epoch in epochs] or [0],
        "measures": {
            label: {
                "map": index,
                "values": arrays.add(one.stack, "float32"),
                "intervals": None
                if one.intervals is None
                else arrays.add(one.intervals.reshape(*one.stack.shape, 2), "float32"),
                "per_class": None
                if one.per_class is None
                else arrays.add(one.per_class if one.epochs else one.per_class[None], "float32"),
                "classes": [] if one.per_class is None else list(one.classes),
                "n": one.n,
                "masked": one.masked,
            }
            for label, index, one in held
        },
        "views_a": _views(viewer.views_a, arrays) if same_examples else None,
        "views_b": _views(viewer.views_b, arrays) if same_examples else None,
    }


def _views(views: LayerViews | None, arrays: Arrays) -> dict[str, str] | None:
    if views is None:
        return None
    return {
        "projections": arrays.add(views.projections, "float32"),
        "explained": arrays.add(views.explained, "float32"),
        "grams": arrays.add(views.grams, "int8"),
        "gram_examples": arrays.add(views.gram_examples, "int32"),
    }


def _same_examples(keeper: SimilarityMap, other: SimilarityMap) -> bool:
    one, two = keeper.examples, other.examples
    if one is two:
        return True
    if one is None or two is None or len(one.labels) != len(two.labels) or not bool((one.labels == two.labels).all()):
        return False
    return one.index is None or two.index is None or bool((one.index == two.index).all())


def _tell_apart(pairs: list[dict[str, Any]]) -> None:
    """Short titles that differ: the student's name where the teacher is one and the same."""
    if len(pairs) < 2:
        return
    for one, other in pairwise(pairs):
        if one["name_a"] == other["name_a"] and one["name_b"] != other["name_b"]:
            one["title"], other["title"] = one["name_b"], other["name_b"]
        elif one["title"] == other["title"]:
            one["title"], other["title"] = f"{one['title']} (1)", f"{other['title']} (2)"


def _matching(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    """Which rows and columns of two maps belong together: by name, else by position where the counts agree."""
    matched: dict[str, Any] = {}
    by_position = []
    for side, key in (("layers_a", "rows"), ("layers_b", "columns")):
        first, second = pairs[0][side], pairs[1][side]
        common = [layer for layer in first if layer in second]
        if common:
            matched[key] = [
                {"layer": layer, "first": first.index(layer), "second": second.index(layer)} for layer in common
            ]
        elif len(first) == len(second):
            matched[key] = [
                {"layer": f"{a} | {b}", "first": k, "second": k}
                for k, (a, b) in enumerate(zip(first, second, strict=True))
            ]
            by_position.append(key)
        else:
            return {
                "reason": f"No difference can be drawn: the {key} have no layer name in common and differ in number ({len(first)} and {len(second)})."
            }
    return matched | {"how": f"{' and '.join(by_position)} of the difference paired by position" if by_position else ""}


def _title(pairs: list[dict[str, Any]]) -> str:
    if len(pairs) == 1:
        return f"Layers of {pairs[0]['name_a']} and {pairs[0]['name_b']}"
    return (
        f"{pairs[0]['title']} and {pairs[1]['title']} beside {pairs[0]['name_a']}"
        if pairs[0]["name_a"] == pairs[1]["name_a"]
        else f"{pairs[0]['title']} and {pairs[1]['title']}"
    )


def _known(what: str, asked: list[Any], have: list[Any], *, several: bool = False) -> None:
    for value in asked:
        if value in have:
            continue
        near = difflib.get_close_matches(str(value), map(str, have), n=1, cutoff=0.5)
        shown = ", ".join(map(str, have[:12])) + (", …" if len(have) > 12 else "")
        hint = f"did you mean {near[0]!r}?" if near else f"there {'are' if len(have) != 1 else 'is'} {shown or 'none'}"
        raise traitlets.TraitError(
            f"{what} {value!r} is not one of this explorer's; {hint}"
            if several
            else f"{what} is {value!r}, which this record does not have; {hint}"
        )
