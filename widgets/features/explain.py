"""How a FeatureSimilarityExplorer explains itself."""

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from widgets.core.explaining import Step, named, number

if TYPE_CHECKING:
    from widgets.features import FeatureSimilarityExplorer


def steps(explorer: "FeatureSimilarityExplorer") -> list[Step]:
    """What the map shows, where it is brightest, when it became so, and why."""
    content = explorer.content
    epochs, pair = content["epochs"], content["pairs"][0]
    last = len(epochs) - 1 if epochs else 0
    shown = explorer.seen(last)[0]
    values, record = shown.matrix, shown.record
    if values is None or record is None or np.isnan(values).all():
        return []
    a, b = named(pair["name_a"]), named(pair["name_b"])
    at = {"epoch": epochs[last]} if epochs else {}
    calm = {"measure": explorer.measure, "class_name": explorer.class_name}
    nothing = {"layer_a": None, "layer_b": None, "example": None}
    found = [
        Step(
            "heatmap-0",
            f"Each cell compares a layer of {a} (row) with a layer of {b} (column): {explorer.measure} is 1 where both "
            f"hold the same of the {record.n:,} examples to be alike, and 0 where they have nothing in common.",
            calm | {"selection": at | nothing},
        )
    ]
    row, column = np.unravel_index(np.nanargmax(values), values.shape)
    top = {"layer_a": record.layers_a[row], "layer_b": record.layers_b[column]}
    found.append(
        Step(
            "heatmap-0",
            f"Most alike{f' at epoch {epochs[last]}' if epochs else ''} are {named(top['layer_a'])} of {a} and "
            f"{named(top['layer_b'])} of {b}: {number(values[row, column])}.",
            calm | {"selection": at | top},
        )
    )
    best = Counter(record.layers_b[int(np.nanargmax(line))] for line in values if not np.isnan(line).all())
    often, count = best.most_common(1)[0]
    found.append(
        Step(
            "heatmap-0",
            f"The best match of each row is outlined: for {count} of {sum(best.values())} layers of {a} it is "
            f"{named(often)} of {b}.",
            calm | {"best_match": True, "selection": at | nothing},
        )
    )
    if len(epochs) > 1:
        means = [
            float(np.nanmean(one.matrix)) if one.matrix is not None and not np.isnan(one.matrix).all() else np.nan
            for one in (explorer.seen(when)[0] for when in (0, last))
        ]
        found.append(
            Step(
                "timeline",
                f"From epoch {epochs[0]} to epoch {epochs[last]} the mean over all cells goes from {number(means[0])} "
                f"to {number(means[1])}: drag the slider to see where the map changes first.",
                calm | {"selection": {"epoch": epochs[0]} | nothing},
            )
        )
    if len(content["pairs"]) > 1 and (shift := explorer.difference(last)) is not None and not shift.isna().all().all():
        i, j = (int(k) for k in np.unravel_index(np.nanargmax(shift.abs().to_numpy()), shift.shape))
        found.append(
            Step(
                "heatmap-difference",
                f"The third map is the second minus the first: they differ most in {named(shift.index[i])} × "
                f"{named(shift.columns[j])}, by {number(float(shift.to_numpy()[i, j]))}.",
                calm | {"selection": at | nothing},
            )
        )
    if content["examples"] is not None and pair["views_a"] and pair["views_b"]:
        found.append(
            Step(
                "inspector",
                f"The pinned pair as clouds: each point is one of {content['examples']['count']} examples, near those "
                "that the layer holds alike; point at one to find it in the other cloud.",
                calm | {"selection": at | top},
            )
        )
    return found
