"""Similarity maps and training records of the size that the explorers must carry, without training anything."""

import math

import torch

from workbench.records import Calibration, Examples, LayerViews, SimilarityMap, TrainingRecord


def similarity_map(
    rows=27,
    columns=9,
    epochs=20,
    examples=120,
    grams=60,
    classes=10,
    *,
    seed=0,
    name_a="resnet56",
    name_b="resnet20",
    measure="cka",
    intervals=True,
    per_class=True,
    masked=True,
    class_names=None,
    layers_b=None,
):
    draw = torch.Generator().manual_seed(seed)
    depth_a = torch.linspace(0, 1, rows)[:, None]
    depth_b = torch.linspace(0, 1, columns)[None]
    sharp = torch.linspace(0.6, 4.0, max(epochs, 1))[:, None, None]
    values = torch.exp(-sharp * (depth_a - depth_b).abs() * 1.6) * (0.72 + 0.25 * depth_b)
    values = (values + 0.03 * torch.randn(values.shape, generator=draw)).clamp(-0.02, 0.99)
    reasons = {}
    if masked:
        values[:, 3, :] = float("nan")
        reasons = {f"3,{j}": "constant features" for j in range(columns)}
        if rows > 11:
            values[:, 11, 2] = float("nan")
            reasons["11,2"] = "NaN activations"
    half = 0.02 + 0.03 * torch.rand(values.shape, generator=draw)
    names = tuple(class_names or [str(k) for k in range(classes)])
    labels = torch.arange(examples) * classes // examples
    centres = torch.randn(classes, 2, generator=draw)

    def views(layers, shift):
        noise = torch.randn(examples, 2, generator=draw)
        trained = torch.linspace(0.1, 1.0, max(epochs, 1))[:, None, None, None]
        depth = torch.linspace(0.2, 1.0, layers)[None, :, None, None]
        points = centres[labels] * trained * depth * 2 + (noise + shift) * 0.6
        centred = points - points.mean(2, keepdim=True)
        chosen = torch.linspace(0, examples - 1, grams).long()
        kernel = centred[:, :, chosen] @ centred[:, :, chosen].transpose(-1, -2)
        kernel = kernel / kernel.abs().amax((-1, -2), keepdim=True)
        return LayerViews(
            projections=centred.float(),
            explained=torch.tensor([0.41, 0.17]).expand(max(epochs, 1), layers, 2).clone(),
            grams=(kernel * 127).round().to(torch.int8),
            gram_examples=chosen,
        )

    images = torch.zeros(examples, 1, 8, 8)
    for k, label in enumerate(labels.tolist()):
        angle = math.pi * label / classes
        for t in range(8):
            images[
                k,
                0,
                int(3.5 + 3.4 * math.sin(angle) * (t - 3.5) / 3.5),
                int(3.5 + 3.4 * math.cos(angle) * (t - 3.5) / 3.5),
            ] = 1
    layers_a = ("conv1", *(f"layer{1 + k // 9}.{k % 9}.conv2" for k in range(rows - 1)))
    stages = tuple(layers_b or ("conv1", *(f"layer{1 + k // 3}.{k % 3}" for k in range(columns - 1))))
    one = epochs == 0
    clazz = values[:, None] * (0.7 + 0.3 * torch.rand(1, classes, 1, 1, generator=draw))
    bounds = torch.stack([values - half, values + half], -1)
    return SimilarityMap(
        values=values[0] if one else values,
        layers_a=layers_a,
        layers_b=stages,
        measure=measure,
        options={"kernel": "linear", "debiased": True} if measure == "cka" else {},
        n=1000,
        intervals=(bounds[0] if one else bounds) if intervals else None,
        per_class=(clazz[0] if one else clazz) if per_class else None,
        classes=names,
        epochs=() if one else tuple(range(1, epochs + 1)),
        name_a=name_a,
        name_b=name_b,
        masked=reasons,
        views_a=views(rows, 0.0),
        views_b=views(columns, 0.2),
        examples=Examples(labels=labels, images=(images * 255).to(torch.uint8), index=torch.arange(examples) * 3),
    )


def training_record(name="teacher", epochs=20, classes=10, *, seed=0, best=0.97):
    draw = torch.Generator().manual_seed(seed)
    time = torch.arange(1, epochs + 1).float()
    accuracy = best - (best - 0.1) * torch.exp(-time / 4) + 0.008 * torch.randn(epochs, generator=draw)
    loss = 2.3 * torch.exp(-time / 4) + 0.1 + 0.02 * torch.rand(epochs, generator=draw)
    edges = (torch.arange(15) + 0.5) / 15
    reached = (edges * 0.9 + 0.04 * torch.randn(15, generator=draw)).clamp(0, 1)
    reached[:3] = float("nan")
    count = torch.tensor([0, 0, 0, 3, 4, 5, 8, 9, 12, 14, 20, 30, 46, 90, 356])
    return TrainingRecord(
        name=name,
        curves={
            "train_loss": loss * 0.8,
            "test_loss": loss,
            "train_accuracy": (accuracy + 0.02).clamp(0, 1),
            "test_accuracy": accuracy.clamp(0, 1),
            "learning_rate": 1e-3 * 0.5 * (1 + torch.cos(math.pi * time / epochs)),
        },
        classes=tuple(str(k) for k in range(classes)),
        per_class_accuracy=(accuracy[:, None] + 0.05 * torch.randn(epochs, classes, generator=draw)).clamp(0, 1),
        calibration=Calibration(
            confidence=torch.where(reached.isnan(), reached, edges),
            accuracy=reached,
            count=count,
            ece=0.043,
            nll=0.21,
            brier=0.08,
        ),
        state={"weight": torch.zeros(3)},
    )
