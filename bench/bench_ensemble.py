"""Many networks trained as one against the same networks trained one after another, on digits."""

from typing import Any

import torch
from timing import in_turn

import workbench as wb

# The target of the ensemble is stated for ten ConvNets on two CPU cores; the other rows say how far the idea carries.
CASES: tuple[tuple[str, int, dict[str, Any], float | None], ...] = (
    ("convnet", 10, {}, 3.0),
    ("convnet", 10, {"width": 16}, None),
    ("convnet", 10, {"width": 8}, None),
    ("mlp", 10, {"width": [64, 12]}, None),
    ("mlp", 32, {"width": [64, 12]}, None),
    ("vit", 10, {"width": 32, "depth": 2}, None),
)


def rows(quick: bool = False) -> list[dict]:
    data = wb.data.load("digits")
    found = []
    for name, members, options, target in CASES[:1] if quick else CASES:
        together, apart = times(name, members, options, data, epochs=1 if quick else 5, rounds=1 if quick else 3)
        size = f" of width {options['width']}" if options else ""
        what = f"{members} {name}s{size} trained as one, on {torch.get_num_threads()} threads"
        ratio = apart / together
        found.append(
            {
                "name": f"{what}: times faster than one by one",
                "value": ratio,
                "unit": "×",
                "target": f"≥ {target:g}" if target else "",
                "met": ratio >= target if target else None,
            }
        )
        found.append({"name": what, "value": together, "unit": "s", "target": "", "met": None})
    return found


def times(
    name: str, members: int, options: dict[str, Any], data: wb.data.Dataset, *, epochs: int, rounds: int
) -> tuple[float, float]:
    """Median seconds to train all members together and one by one, the two in turn."""
    settings: dict[str, Any] = {"epochs": epochs, "lr": 1e-3, "evaluate_every": 0, "progress": False}

    def together() -> None:
        wb.training.Ensemble(name, data, seeds=range(members), **options).fit(data, **settings)

    def apart() -> None:
        for seed in range(members):
            wb.training.fit(wb.models.build(name, data, seed=seed, **options), data, seed=seed, **settings)

    return in_turn(together, apart, rounds)


if __name__ == "__main__":
    for row in rows():
        print(row)
