"""What a PosteriorExplorer shows of a classification: the settings it takes, its numbers, its table."""

from typing import Any

import pandas as pd
import torch
import traitlets
from matplotlib.figure import Figure

from widgets.core.arrays import Arrays
from widgets.core.checks import require_known
from widgets.core.explaining import Step
from widgets.core.jobs import Job
from widgets.posterior.explain import classification_steps
from widgets.posterior.kernels import FITTED
from widgets.posterior.labels import LabelLook, Labels, Variant
from widgets.posterior.maps import draw_classification
from widgets.posterior.settings import held_values, positive, share
from widgets.posterior.source import Ask
from workbench.gp.inference.kernels import NAMES

MOST_STEPS = 20


class ClassificationView:
    """A classification as the explorer sees it; `source` computes, `now` is what is looked at."""

    asked: tuple[str, ...] = (
        "approach",
        "mode",
        "steps",
        "mixing",
        "kernel",
        "length_scale",
        "amplitude",
        "feature",
        "feature_y",
        "held",
    )
    has_limit = False

    def __init__(self, posterior: Any, test: Any) -> None:
        self.source = Labels(posterior, test)
        self.base, self.features = self.source.base, self.source.features
        classes = self.base.classes
        self.outputs = classes[1:] if self.base.mean.shape[2] == 1 else classes
        self.now = self._look(self._nothing(), None)

    def _nothing(self) -> Ask:
        mode = str(self.base.settings.get("mode", "duplicate"))
        first, second = self.features[0].name, self.second_feature()
        return Ask(feature=first, feature_y=second, approach=self.base.approach, mode=mode)

    def _look(self, ask: Ask, job: Job | None) -> LabelLook:
        both = ["data", "distribution"]
        return self.source.look(ask, both if ask.approach == "both" else [ask.approach], job)

    def first(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Content and arrays of the view nobody has changed yet."""
        return self._content(self.now)

    def look(self, ask: Ask, job: Job | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """Content and arrays under the settings of `ask`; from now on `now` is that look."""
        found = self._look(ask, job)
        if job is not None:
            job.progress()
        packed = self._content(found)
        self.now = found
        return packed

    def telling(self) -> int:
        """The step to open at: of the smallest negative log-likelihood on test rows, else the last."""
        variants = self.first()[0]["variants"]
        judged = variants[0]["judged"] if self.first()[0]["tested"] else None
        return self.base.steps if judged is None else judged["nll"].index(min(judged["nll"])) + 1

    def rows(self) -> int:
        """How many training rows there are."""
        return len(self.base.train_inputs)

    def second_feature(self) -> str:
        return self.features[1].name if len(self.features) > 1 else ""

    def title(self) -> str:
        """The heading of a view that nobody has named."""
        classes = self.base.classes
        named = f"{classes[0]} or {classes[1]}" if len(classes) == 2 else f"{len(classes)} classes"
        return f"Self-distilled Gaussian process: {named}"

    # Settings -------------------------------------------------------------------------------------------------------

    def checked(self, name: str, value: Any) -> Any:
        """A setting's value if this view can show it; else a TraitError that says what would do."""
        check = getattr(self, f"_{name}", None)
        return value if value is None or check is None else check(value)

    def _live(self, name: str, value: Any, kept: Any) -> None:
        if value != kept and not self.source.live:
            raise traitlets.TraitError(f"{name} cannot change here: {self.source.why_not}")

    def _approach(self, value: str) -> str:
        self._live("approach", value, self.base.approach)
        return value

    def _mode(self, value: str) -> str:
        self._live("mode", value, self.base.settings.get("mode", "duplicate"))
        return value

    def _steps(self, value: int) -> int:
        most = MOST_STEPS if self.source.live else self.base.steps
        if not 1 <= value <= most:
            raise traitlets.TraitError(f"steps is {value!r}; it can be 1 to {most}")
        return value

    def _noise(self, value: Any) -> None:
        raise traitlets.TraitError(f"noise is {value!r}; a classification has none: it can only be None")

    def _mixing(self, value: Any) -> float:
        self._live("mixing", value, None)
        return share("mixing", value)

    def _kernel(self, value: str) -> str:
        require_known("kernel", [value], [FITTED, *(NAMES if self.source.kernel is not None else ())])
        return value

    def _length_scale(self, value: Any) -> float:
        if self.source.scales[0] is None:
            raise traitlets.TraitError(f"length_scale cannot change here: {self._no_scale()}")
        return positive("length_scale", value)

    def _amplitude(self, value: Any) -> float:
        if self.source.scales[1] is None:
            raise traitlets.TraitError(f"amplitude cannot change here: {self._no_scale()}")
        return positive("amplitude", value)

    def _no_scale(self) -> str:
        return self.source.why_not or "there is not one exact kernel that has it"

    def _feature(self, value: str) -> str:
        require_known("feature", [value], [feature.name for feature in self.features])
        return value

    def _feature_y(self, value: str) -> str:
        if value or len(self.features) > 1:
            require_known("feature_y", [value], [feature.name for feature in self.features])
        return value

    def _held(self, value: Any) -> dict[str, float]:
        self._live("held", value, {})
        return held_values(value, [feature.name for feature in self.features])

    def _output(self, value: str) -> str:
        require_known("output", [value], list(self.outputs))
        return value

    def _class_name(self, value: str) -> str:
        require_known("class_name", [value], list(self.base.classes))
        return value

    def _points(self, _: Any) -> None:
        raise traitlets.TraitError("points move in regressions only: points can only be None")

    def _samples(self, value: int) -> int:
        if value:
            raise traitlets.TraitError("samples are drawn of regressions only: samples can only be 0")
        return value

    # Numbers --------------------------------------------------------------------------------------------------------

    def _content(self, look: LabelLook) -> tuple[dict[str, Any], dict[str, Any]]:
        arrays, base, source = Arrays(), self.base, self.source
        content = {
            "task": "classification",
            "live": source.live,
            "why_not": source.why_not,
            "method": base.method,
            "features": [feature._asdict() for feature in self.features],
            "axes": list(look.axes),
            "shape": None if look.shape is None else list(look.shape),
            "spans": [list(source.span(axis)) for axis in look.axes],
            "classes": list(base.classes),
            "outputs": list(self.outputs),
            "tested": look.tested,
            "train": {
                "places": arrays.add(base.train_inputs[:, list(look.axes)], "float32"),
                "labels": arrays.add(base.train_targets[:, 0], "int32"),
                "groups": arrays.add(base.groups, "int32"),
            },
            "given": {
                "mixing": base.mixing.tolist(),
                "length_scale": source.scales[0],
                "amplitude": source.scales[1],
                "steps": base.steps,
            },
            "kernel": look.variants[0].path.kernel,
            "kernels": [FITTED, *NAMES] if source.kernel is not None else [],
            "variants": [self._variant(variant, look, arrays) for variant in look.variants],
        }
        return content, arrays.packed

    def _variant(self, variant: Variant, look: LabelLook, arrays: Arrays) -> dict[str, Any]:
        path, rows = variant.path, slice(0, variant.grid)
        if path.probabilities is None or path.targets is None:
            raise ValueError("this path was saved without its probabilities or targets: fit it again, and explore that")
        return {
            "approach": variant.approach,
            "mode": variant.mode,
            "steps": path.steps,
            "places": arrays.add(path.inputs[rows][:, list(look.axes)], "float32"),
            "probabilities": arrays.add(path.probabilities[:, rows], "float32"),
            "mean": arrays.add(path.mean[:, rows], "float32"),
            "std": arrays.add(path.variance[:, rows].clamp_min(0).sqrt(), "float32"),
            "targets": arrays.add(path.targets, "float32"),
            "evidence": path.log_marginal_likelihood.tolist(),
            "judged": None
            if not variant.judged
            else {
                "ece": [one.ece for one in variant.judged],
                "nll": [one.nll for one in variant.judged],
                "error": [_error(one) for one in variant.judged],
                "confidence": arrays.add(torch.stack([one.confidence for one in variant.judged]), "float32"),
                "accuracy": arrays.add(torch.stack([one.accuracy for one in variant.judged]), "float32"),
                "count": arrays.add(torch.stack([one.count for one in variant.judged]), "int32"),
            },
        }

    def step(self, explorer: Any, variant: Variant) -> int:
        """The selected step of a variant, from 0."""
        return min(explorer.selection["step"], variant.path.steps) - 1

    def data(self, explorer: Any) -> pd.DataFrame:
        """One row per approach and place: `approach`, the features on the axes, probabilities, latent `mean`, `std`."""
        frames = []
        k = self.latent(explorer)
        for variant in self.now.variants:
            path, t = variant.path, self.step(explorer, variant)
            assert path.probabilities is not None
            columns: dict[str, Any] = {"approach": variant.approach}
            for axis in self.now.axes:
                columns[self.features[axis].name] = path.inputs[: variant.grid, axis].numpy()
            for c, name in enumerate(self.base.classes):
                columns[f"probability[{name}]"] = path.probabilities[t, : variant.grid, c].numpy()
            columns["mean"] = path.mean[t, : variant.grid, k].numpy()
            columns["std"] = path.variance[t, : variant.grid, k].clamp_min(0).sqrt().numpy()
            frames.append(pd.DataFrame(columns))
        return pd.concat(frames, ignore_index=True)

    def latent(self, explorer: Any) -> int:
        """Which latent function belongs to the chosen class: for two classes there is one."""
        return 0 if len(self.outputs) == 1 else self.base.classes.index(explorer.class_name)

    def summary(self, explorer: Any) -> str:
        parts = []
        for variant in self.now.variants:
            t = self.step(explorer, variant)
            mode = f" ({variant.mode})" if variant.approach == "distribution" else ""
            text = f"{variant.approach}-centric{mode}"
            if variant.judged:
                one = variant.judged[t]
                text += f", error {_error(one):.1%}, ECE {one.ece:.3f}, NLL {one.nll:.3f} nats"
            parts.append(text)
        where = "test" if self.now.tested else "training"
        step = explorer.selection["step"]
        return (
            f"Gaussian-process classification of {len(self.base.classes)} classes on {self.rows():,} rows, "
            f"step {step} of {explorer.steps} on {where} rows: {'; '.join(parts)}"
        )

    def check(self, explorer: Any) -> list[dict[str, Any]]:  # noqa: ARG002 - regressions need it
        """There is nothing to check: no theorem makes every step of a classification one ordinary process."""
        raise ValueError("the equivalence with one ordinary process is a theorem about regression")

    def explain(self, explorer: Any) -> list[Step]:  # noqa: ARG002 - regressions need it
        return classification_steps(self)

    def figure(self, explorer: Any) -> Figure:
        return draw_classification(self, explorer)


def _error(judged: Any) -> float:
    """Share of wrong classes, from the reliability bins."""
    count = judged.count.double()
    return 1 - float((judged.accuracy.double().nan_to_num(0) * count).sum() / count.sum())
