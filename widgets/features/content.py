"""From similarity maps to what travels to the browser: pairs of networks, their measures, arrays by name."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from widgets.core.arrays import Arrays
from workbench.records import LayerViews, SimilarityMap

MEASURES = {
    "cka": "CKA",
    "svcca": "SVCCA",
    "pwcca": "PWCCA",
    "procrustes": "Procrustes",
    "rsa": "RSA",
    "mknn": "mutual k-NN",
}


BOOKKEEPING = ("batch_size", "batches", "seed", "halves")
"""Options that say how a measure was computed and not which one it is; the status line shows them."""


def measure_label(record: SimilarityMap) -> str:
    """The measure as the switch names it: "CKA (linear, debiased)"."""
    details = []
    for key, value in record.options.items():
        if key in BOOKKEEPING:
            continue
        if value is True:
            details.append(key)
        elif isinstance(value, str):
            details.append(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            details.append(f"{key} {value:g}")
    name = MEASURES.get(record.measure, record.measure)
    return f"{name} ({', '.join(details)})" if details else name


def networks_of(record: SimilarityMap) -> tuple[Any, ...]:
    """Which comparison a map belongs to: two networks by name and layers."""
    return (record.name_a, record.name_b, record.layers_a, record.layers_b)


def content_of(maps: Sequence[SimilarityMap]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What travels to the browser: plain values, and the arrays they refer to."""
    groups: list[tuple[tuple[Any, ...], dict[str, int]]] = []
    for index, record in enumerate(maps):
        label = measure_label(record)
        same = (held for networks, held in groups if networks == networks_of(record) and label not in held)
        group = next(same, None)
        if group is None:
            groups.append((networks_of(record), group := {}))
        group[label] = index
    if len(groups) > 2:
        raise ValueError(
            f"these {len(maps)} maps compare {len(groups)} pairs of networks; two can be shown side by side: "
            "pass one or two of them"
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
                f"the maps of {record.name_a} and {record.name_b} stand at different epochs "
                f"({held[0][0]}: {record.epochs}, {label}: {other.epochs})"
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
        # At an epoch that only the other pair has, this one shows its latest earlier one, and the status line says so.
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
                "computed": [
                    f"{key.replace('_', ' ')} {one.options[key]}" for key in BOOKKEEPING if key in one.options
                ],
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
            counts = f"{len(first)} and {len(second)}"
            return {
                "reason": f"No difference can be drawn: the {key} have no layer name in common and differ in number "
                f"({counts})."
            }
    return matched | {"how": f"{' and '.join(by_position)} of the difference paired by position" if by_position else ""}


def title_of(pairs: list[dict[str, Any]]) -> str:
    """The heading of a view that nobody has named."""
    if len(pairs) == 1:
        return f"Layers of {pairs[0]['name_a']} and {pairs[0]['name_b']}"
    return (
        f"{pairs[0]['title']} and {pairs[1]['title']} beside {pairs[0]['name_a']}"
        if pairs[0]["name_a"] == pairs[1]["name_a"]
        else f"{pairs[0]['title']} and {pairs[1]['title']}"
    )
