"""The settings of what stands beside the atlas: attributions over an image, and what to train on which images."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import traitlets
from torch import nn

from widgets.distilled.inspector.looks import BASELINES, MAGNITUDES, METHODS, WITH_BASELINE
from workbench import models
from workbench.records import TrainingRecord

if TYPE_CHECKING:
    from widgets.distilled import DistilledImagesExplorer

LENS_STATE = ("offer", "live", "attributions", "attributions_arrays")
MOST_SEEDS, MOST_EPOCHS = 50, 100_000
TARGETS = ("label", "predicted")


class LensTraits(traitlets.HasTraits):
    """Traits of `DistilledImagesExplorer` that its inspector and its teaching panel live on."""

    attribution = traitlets.Dict(help="Which attribution is shown: method, target, baseline, network.").tag(
        sync=True, setting=True
    )
    opacity = traitlets.Float(0.6, help="How strongly it covers the image, 0 to 1.").tag(sync=True, setting=True)
    pixel_values = traitlets.Bool(False, help="Write the values into the pixels of the large image.").tag(
        sync=True, setting=True
    )
    judged = traitlets.Unicode("", help="Whose figures the teaching panel shows; empty: the first network.").tag(
        sync=True, setting=True
    )
    scaled = traitlets.Unicode("", help="Which way of finding a temperature is drawn; empty: the middle ratio.").tag(
        sync=True, setting=True
    )
    training = traitlets.Dict(help="What is trained: networks, seeds, epochs, references.").tag(sync=True, setting=True)
    left_out = traitlets.Dict(help="Rows left out of the next training, by set.").tag(sync=True, setting=True)
    offer = traitlets.Dict(help="What can be attributed and trained here.").tag(sync=True)
    attributions = traitlets.Dict(help="The attributions that are known.").tag(sync=True)
    attributions_arrays = traitlets.Dict(help="Their heat.").tag(sync=True)
    live = traitlets.Dict(help="Curves of the training that is under way; empty: none is.").tag(sync=True)

    @traitlets.default("attribution")
    def _first_attribution(self) -> dict[str, Any]:
        offered = self.offer["attribution"]["networks"]
        start = {"method": "integrated_gradients", "target": "label", "baseline": "mean"}
        return start | {"network": offered[0] if offered else ""}

    @traitlets.default("training")
    def _first_protocol(self) -> dict[str, Any]:
        return first_protocol(_explorer(self))

    @traitlets.default("offer")
    def _first_offer(self) -> dict[str, Any]:
        return offer(_explorer(self))

    @traitlets.validate("attribution")
    def _valid_attribution(self, proposal: Any) -> dict[str, Any]:
        return checked_attribution(_explorer(self), {**self._first_attribution(), **proposal.value})

    @traitlets.validate("opacity")
    def _valid_opacity(self, proposal: Any) -> float:
        if not 0 <= proposal.value <= 1:
            raise traitlets.TraitError(f"opacity is {proposal.value!r}; it can be 0 to 1")
        return float(proposal.value)

    @traitlets.validate("judged")
    def _valid_judged(self, proposal: Any) -> str:
        known = {name for found in _explorer(self).known.evaluations.values() for name in found.networks}
        if proposal.value and proposal.value not in known:
            _refuse("judged", proposal.value, sorted(known))
        return proposal.value

    @traitlets.validate("scaled")
    def _valid_scaled(self, proposal: Any) -> str:
        known = {name for found in _explorer(self).known.scalings.values() for name in found.names}
        if proposal.value and proposal.value not in known:
            _refuse("scaled", proposal.value, sorted(known))
        return proposal.value

    @traitlets.validate("training")
    def _valid_protocol(self, proposal: Any) -> dict[str, Any]:
        return checked_protocol({**self._first_protocol(), **proposal.value})

    @traitlets.validate("left_out")
    def _valid_left_out(self, proposal: Any) -> dict[str, list[int]]:
        sets = _explorer(self).sets
        found = {}
        for name, rows in proposal.value.items():
            if name not in sets:
                _refuse("left_out names the set", name, list(sets))
            kept = checked_rows(rows, len(sets[name]), "left_out")
            if len(kept) >= len(sets[name]):
                raise traitlets.TraitError(f"left_out has all {len(kept)} images of {name!r}; leave at least one in")
            if kept:
                found[name] = sorted(kept)
        return found


def offer(explorer: "DistilledImagesExplorer") -> dict[str, Any]:
    """What can be attributed and trained: names for the browser's controls."""
    networks = []
    if explorer.network is not None:
        networks.append(network_name(explorer.network))
    if explorer.dataset is not None:
        networks.append(EVALUATOR)
    here = list(networks)
    networks += [item.network for item in explorer.known.attributions]
    return {
        "here": here,
        "attribution": {
            "methods": [
                {"value": name, "label": label, "baseline": name in WITH_BASELINE, "signed": name not in MAGNITUDES}
                for name, label in METHODS.items()
            ],
            "baselines": [{"value": name, "label": label} for name, label in BASELINES.items()],
            "networks": list(dict.fromkeys(networks)),
            "can": explorer.network is not None or explorer.dataset is not None,
        },
        "models": [name for name in models.names() if name not in {"resnet32", "resnet56", "resnet110"}],
        "can": hasattr(explorer.dataset, "test"),
    }


EVALUATOR = "the evaluator"
"""A network trained on the set as `workbench.condensation.evaluate` trains them, of the protocol's first kind."""


def evaluator_made(training: Mapping[str, Any]) -> str:
    """How the evaluator is trained under these settings; inspector/attribution.js has the other copy."""
    return f"{training['networks'][0]}, {training['epochs']} epochs"


def network_name(network: nn.Module | TrainingRecord) -> str:
    """What a network of the reader's own is called."""
    if isinstance(network, TrainingRecord):
        return network.name or str((network.spec or {}).get("name", "network"))
    return str((getattr(network, "spec", None) or {}).get("name", type(network).__name__))


def first_protocol(explorer: "DistilledImagesExplorer") -> dict[str, Any]:
    """As the evaluation at hand was made; else the set's own network, three seeds, 300 epochs."""
    for found in explorer.known.evaluations.values():
        if set(found.networks) <= set(models.names()):
            epochs = found.settings.get("epochs", 300)
            references = found.random_accuracy is not None
            return {
                "networks": list(found.networks),
                "seeds": len(found.seeds),
                "epochs": epochs,
                "references": references,
            }
    own = (next(iter(explorer.sets.values())).spec or {}).get("name", "convnet")
    network = own if own in models.names() else "convnet"
    return {"networks": [network], "seeds": 3, "epochs": 300, "references": True}


def checked_attribution(explorer: "DistilledImagesExplorer", asked: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a method, target class, baseline or network that there is not."""
    choice = {key: asked[key] for key in ("method", "target", "baseline", "network") if key in asked}
    if stray := set(asked) - set(choice):
        _refuse("attribution has no", min(stray), ["method", "target", "baseline", "network"])
    offered = explorer.offer["attribution"]
    _one_of("method", choice["method"], list(METHODS))
    _one_of("baseline", choice["baseline"] or "mean", [*BASELINES, *_own_baselines(explorer)])
    if offered["networks"] or choice["network"]:
        _one_of("network", choice["network"], offered["networks"])
    count = len(explorer.record_classes())
    target = choice["target"]
    whole = isinstance(target, int) and not isinstance(target, bool)
    if target not in TARGETS and not (whole and 0 <= target < count):
        raise traitlets.TraitError(f"target is {target!r}; it can be 'label', 'predicted' or a class 0 to {count - 1}")
    return choice


def _own_baselines(explorer: "DistilledImagesExplorer") -> list[str]:
    return [item.found.baseline for item in explorer.known.attributions if item.found.baseline not in BASELINES]


def checked_protocol(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Refuse a training that cannot be run."""
    if stray := set(asked) - {"networks", "seeds", "epochs", "references"}:
        _refuse("training has no", min(stray), ["networks", "seeds", "epochs", "references"])
    networks = asked["networks"]
    if isinstance(networks, str) or not isinstance(networks, Sequence) or not networks:
        raise traitlets.TraitError(f"networks is {networks!r}; a list of at least one name is needed")
    for name in networks:
        _one_of("network", name, list(models.names()))
    for key, most in (("seeds", MOST_SEEDS), ("epochs", MOST_EPOCHS)):
        value = asked[key]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise traitlets.TraitError(f"{key} is {value!r}; it can be 1 to {most}")
    return {
        "networks": list(dict.fromkeys(networks)),
        "seeds": asked["seeds"],
        "epochs": asked["epochs"],
        "references": bool(asked["references"]),
    }


def checked_rows(rows: Any, count: int, what: str) -> list[int]:
    """Rows of a set, each once."""
    if not isinstance(rows, (list, tuple)):
        raise traitlets.TraitError(f"{what} is {rows!r}; a list of rows 0 to {count - 1} is needed")
    for row in rows:
        if isinstance(row, bool) or not isinstance(row, int) or not 0 <= row < count:
            raise traitlets.TraitError(f"{what} has {row!r}; the set has images 0 to {count - 1}")
    return list(dict.fromkeys(rows))


def _one_of(what: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        _refuse(what, value, known)


def _refuse(what: str, value: Any, known: Sequence[str]) -> None:
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.4)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, known)) or 'none'}"
    raise traitlets.TraitError(f"{what} {value!r}; {hint}")


def _explorer(traits: LensTraits) -> "DistilledImagesExplorer":
    return traits  # type: ignore[return-value]  # the traits are a part of the explorer's class and of nothing else
