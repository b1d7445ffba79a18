"""How a DistilledImagesExplorer explains itself."""

from typing import TYPE_CHECKING, Any

import torch

from widgets.core.explaining import Step, named, number, share
from widgets.distilled.content import images_at, moments_of, raw

if TYPE_CHECKING:
    from widgets.distilled import DistilledImagesExplorer


def steps(explorer: "DistilledImagesExplorer") -> list[Step]:
    """What the images are, how they began, when they taught most, which is hard, and what they teach."""
    record, name = explorer.record, explorer.selection["set"]
    order = [int(moment) for moment in moments_of(record)]
    moments = next(item["iterations"] for item in explorer.content["sets"] if item["name"] == name)
    calm: dict[str, Any] = {"against": "nothing", "panel": "images", "classes": [], "sort": "class"}
    here = {"set": name, "images": []}
    found = [
        Step(
            "atlas",
            f"These {len(record):,} images stand for a whole data set of {len(record.classes)} classes; {named(name)} "
            "made them by optimisation, so they need not look like anything real."
            if record.loss is not None and len(record.loss)
            else f"These {len(record):,} images stand for a whole data set of {len(record.classes)} classes.",
            calm | {"selection": here | {"iteration": moments[-1]}},
        )
    ]
    if len(moments) > 1:
        first, last = (raw(record, images_at(record, order.index(moment))) for moment in (moments[0], moments[-1]))
        change = (last - first).abs().mean()
        found.append(
            Step(
                "atlas",
                f"This is how they began, at iteration {moments[0]:,}; by iteration {moments[-1]:,} a pixel has "
                f"changed by {number(float(change))} on average, where 1 is from black to white.",
                calm | {"selection": here | {"iteration": moments[0]}},
            )
        )
    taught = record.snapshot_accuracy
    if taught is not None and not bool(taught.isnan().all()):
        known = dict(zip(record.snapshot_iterations, taught.tolist(), strict=True))
        shown = [moment for moment in moments if known.get(moment, float("nan")) == known.get(moment)]
        best = max(shown, key=lambda moment: known[moment])
        found.append(
            Step(
                "timeline",
                f"A network trained on the images of iteration {best:,} is right on {share(known[best])} of the test "
                f"images; on those of iteration {shown[0]:,}, on {share(known[shown[0]])}.",
                calm | {"selection": here | {"iteration": best}},
            )
        )
    looks = explorer.known.looks.get(name)
    if looks is not None:
        worst = int(torch.as_tensor(looks.loss).argmax())
        found.append(
            Step(
                "inspector",
                f"Image {worst}, a {named(record.classes[int(record.hard_labels[worst])])}, is the hardest for "
                f"{named(looks.network)}: its loss is {number(float(looks.loss[worst]))} nats, where the mean is "
                f"{number(float(looks.loss.mean()))}.",
                calm | {"selection": here | {"iteration": moments[-1], "images": [worst]}},
            )
        )
    judged = explorer.known.evaluations.get(name)
    if judged is not None:
        own = float(judged.accuracy[0].mean())
        beside = ""
        if judged.full_accuracy is not None:
            beside = f"; trained on all real data it is right on {share(float(judged.full_accuracy[0].mean()))}"
        found.append(
            Step(
                "teaching",
                f"What they teach: {named(judged.networks[0])}, trained on them alone, is right on {share(own)} of "
                f"real test images, mean of {len(judged.seeds)} seeds{beside}.",
                calm | {"panel": "teaching", "selection": here | {"iteration": moments[-1]}},
            )
        )
    return found
