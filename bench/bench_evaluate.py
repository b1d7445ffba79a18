"""Evaluating a distilled set with five seeds trained as one, against five runs of `fit` one after another."""

from typing import Any

import torch
from timing import in_turn

import workbench as wb
from workbench.condensation.judging.teaching import halfway

SEEDS = 5
TARGET = 2.5


def rows(quick: bool = False) -> list[dict]:
    digits = wb.data.load("digits")
    colour = made_up()
    cases: list[tuple[str, wb.data.Dataset, int, str, dict[str, Any], int, float | None]] = [
        ("digits, 100 images, MLP", digits, 10, "mlp", {}, 300, None),
        ("digits, 100 images, ConvNet of width 32", digits, 10, "convnet", {}, 60, TARGET),
        ("32×32 colour, 100 images, ConvNet of width 128", colour, 10, "convnet", {}, 3, TARGET),
    ]
    if quick:
        cases = [("digits, 10 images, MLP", digits, 1, "mlp", {}, 10, None)]
    found = []
    for what, data, ipc, network, options, epochs, target in cases:
        together, apart = times(data, ipc, network, options, epochs=epochs, rounds=1 if quick else 3)
        threads = f"on {torch.get_num_threads()} threads"
        ratio = apart / together
        found.append(
            {
                "name": f"evaluate with {SEEDS} seeds, {what}, {threads}: times faster than one by one",
                "value": ratio,
                "unit": "×",
                "target": f"≥ {target:g}" if target else "",
                "met": ratio >= target if target else None,
            }
        )
        found.append({"name": f"… {epochs} epochs", "value": together, "unit": "s", "target": "", "met": None})
    return found


def times(
    data: wb.data.Dataset, ipc: int, network: str, options: dict[str, Any], *, epochs: int, rounds: int
) -> tuple[float, float]:
    """Median seconds to evaluate all seeds together and one by one, the two in turn; scored ten times each."""
    distilled = wb.condensation.condense(data, wb.condensation.Random(ipc=ipc), progress=False)
    examples = wb.condensation.examples(distilled)

    def together() -> None:
        wb.condensation.evaluate(
            distilled, data, network, SEEDS, epochs, references=False, progress=False, options={network: options}
        )

    def apart() -> None:
        for seed in range(SEEDS):
            wb.training.fit(
                wb.models.build(network, data, seed=seed, **options),
                wb.data.Dataset("distilled", examples, data.test),
                epochs,
                optimizer="sgd",
                lr=0.01,
                weight_decay=5e-4,
                schedule=halfway,
                batch_size=256,
                seed=seed,
                evaluate_every=max(1, -(-epochs // 10)),
                progress=False,
            )

    return in_turn(together, apart, rounds)


def made_up() -> wb.data.Dataset:
    """Ten classes of 32×32 colour noise: what is timed does not depend on what the images show."""
    generator = torch.Generator().manual_seed(0)
    zero = torch.zeros(3, 1, 1)

    def split(n: int) -> wb.data.Split:
        inputs = torch.randn(n, 3, 32, 32, generator=generator)
        return wb.data.Split(inputs, torch.arange(n) % 10, tuple("abcdefghij"), zero, zero + 1)

    return wb.data.Dataset("noise", split(200), split(100))


if __name__ == "__main__":
    for row in rows():
        print(row)
