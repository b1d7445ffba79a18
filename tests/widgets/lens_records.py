"""Distilled sets with looks, attributions and evaluations of the size explorers carry, without training anything."""

import math

import torch

from workbench.records import (
    Attribution,
    Calibration,
    CropChoices,
    DistilledEvaluation,
    DistilledLooks,
    DistilledSet,
    TemperatureScaling,
)

CLASSES = tuple(str(k) for k in range(10))


def distilled(ipc=10, classes=CLASSES, shape=(1, 8, 8), *, soft=False, snapshots=5, seed=0, name="DM"):
    draw = torch.Generator().manual_seed(seed)
    count = len(classes)
    labels = torch.arange(count).repeat_interleave(ipc)
    c, h, w = shape
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, h), torch.linspace(-1, 1, w), indexing="ij")
    angle = math.pi * labels[:, None, None] / count
    line = (rows * torch.cos(angle) - columns * torch.sin(angle)).abs()
    clean = torch.exp(-6 * line)[:, None].expand(-1, c, -1, -1)
    noise = torch.randn(len(labels), *shape, generator=draw)
    mean, std = torch.full((c, 1, 1), 0.3), torch.full((c, 1, 1), 0.35)
    share = torch.linspace(1, 0, snapshots)[:, None, None, None, None]
    stack = ((clean * (1 - 0.7 * share) + 0.35 * noise * (0.15 + share)).clamp(0, 1) - mean) / std
    iterations = tuple(int(t) for t in torch.linspace(0, 400, snapshots))
    probabilities = torch.softmax(4 * torch.nn.functional.one_hot(labels, count) + noise.flatten(1)[:, :count], 1)
    return DistilledSet(
        name=name,
        method=name,
        images=stack[-1].float(),
        labels=probabilities if soft else labels,
        classes=tuple(classes),
        mean=mean,
        std=std,
        loss=torch.linspace(0, 5, iterations[-1]).neg().exp() * 3 + 0.1,
        snapshots=stack.half(),
        snapshot_iterations=iterations,
        snapshot_accuracy=torch.linspace(0.3, 0.9, snapshots),
        spec={"name": "convnet", "shape": list(shape), "classes": count, "options": {"width": 8, "depth": 2}},
    )


def looks(of, *, seed=0, real=60, nearest=4, influence=True, attributions=("integrated_gradients",), network="convnet"):
    draw = torch.Generator().manual_seed(seed)
    n, count = len(of), len(of.classes)
    probabilities = torch.softmax(
        3 * torch.nn.functional.one_hot(of.hard_labels, count) + torch.randn(n, count, generator=draw), 1
    )
    near = torch.stack([torch.randperm(real, generator=draw)[:nearest] for _ in range(2 * n)]).view(2, n, nearest)
    far = torch.rand(2, n, nearest, generator=draw).cumsum(-1) + 1
    rows = torch.stack([torch.randperm(real, generator=draw)[:nearest] for _ in range(n)])
    shift = 0.03 * torch.randn(n, count, generator=draw)
    shift[torch.arange(n), of.hard_labels] += 0.08
    return DistilledLooks(
        network=network,
        classes=of.classes,
        loss=-probabilities[torch.arange(n), of.hard_labels].log(),
        gradient_norm=torch.rand(n, generator=draw) + 0.2,
        probabilities=probabilities,
        real=of.pictures()[torch.arange(real) % n],
        real_labels=of.hard_labels[torch.arange(real) % n],
        real_index=torch.arange(real) * 7,
        real_is_test=torch.arange(real) % 3 == 0,
        nearest_pixels=near[0],
        nearest_pixels_distance=far[0],
        nearest_features=near[1],
        nearest_features_distance=far[1] / 5,
        influence=shift if influence else None,
        influence_rows=rows if influence else None,
        influence_values=0.3 * torch.randn(n, nearest, generator=draw) if influence else None,
        attributions={name: attribution(of, name, seed=seed) for name in attributions},
    )


def attribution(of, method="integrated_gradients", rows=None, *, baseline="mean", target=None, seed=0):
    draw = torch.Generator().manual_seed(seed)
    rows = torch.arange(len(of)) if rows is None else torch.as_tensor(rows)
    images = of.images[rows]
    values = images * (0.4 + 0.3 * torch.randn(images.shape, generator=draw)) / images[0].numel() * 8
    summed = method == "integrated_gradients"
    return Attribution(
        method=method,
        target=of.hard_labels[rows] if target is None else torch.full((len(rows),), target),
        baseline=baseline if method in {"integrated_gradients", "gradient_shap", "occlusion"} else "",
        values=values.abs() if method == "saliency" else values,
        delta=0.002 * torch.randn(len(rows), generator=draw) if summed else None,
        rows=rows,
    )


def evaluation(
    of,
    networks=("convnet", "mlp"),
    seeds=5,
    *,
    seed=0,
    best=0.85,
    references=True,
    points=12,
    worse=None,
    confident=0.06,
):
    """`worse` lowers the accuracy of one class: what leaving its images out might do."""
    draw = torch.Generator().manual_seed(seed)
    K, S, C, tests = len(networks), seeds, len(of.classes), 40
    per_class = (best - 0.05 * torch.arange(K)[:, None, None] + 0.03 * torch.randn(K, S, C, generator=draw)).double()
    if worse is not None:
        per_class[..., worse] -= 0.3
    per_class = (per_class.clamp(0, 1) * tests).round() / tests
    accuracy = per_class.mean(-1)
    confusion = torch.zeros(K, C, C, dtype=torch.int64)
    for c in range(C):
        right = (per_class[..., c] * tests).round().sum(1).long()
        confusion[:, c, c] = right
        confusion[:, c, (c + 1) % C] = S * tests - right
    steps = tuple(int(t) for t in torch.linspace(0, 300, points))
    rise = 1 - torch.exp(-torch.linspace(0, 5, points).double())

    def curve(level, jitter):
        noise = jitter * torch.randn(K, S, points, generator=draw)
        return (0.1 + (level - 0.1)[..., None] * rise + noise * (1 - rise).add(0.2)).clamp(0, 1)

    levels = {"distilled": accuracy, "random": accuracy - 0.1, "full": accuracy + 0.1}
    kept = levels if references else {"distilled": accuracy}
    edges = (torch.arange(15) + 0.5) / 15
    reached = (edges - confident * 2).clamp(0, 1)
    count = torch.tensor([0, 0, 0, 3, 8, 14, 20, 31, 42, 60, 80, 110, 160, 300, 1172])
    bins = Calibration(
        confidence=torch.where(count > 0, edges, torch.nan),
        accuracy=torch.where(count > 0, (reached * count).round() / count, torch.nan),
        count=count,
        ece=confident,
        nll=0.6,
        brier=0.2,
    )
    return DistilledEvaluation(
        name=of.name,
        networks=tuple(networks),
        seeds=tuple(range(S)),
        classes=of.classes,
        accuracy=accuracy,
        full_accuracy=levels["full"] if references else None,
        random_accuracy=levels["random"] if references else None,
        per_class=per_class,
        confusion=confusion,
        calibration=(bins,) * K,
        ece=confident + 0.01 * torch.randn(K, S, generator=draw).double(),
        curves={name: curve(level, 0.05) for name, level in kept.items()},
        confidence={name: curve(level + 0.05, 0.03) for name, level in kept.items()},
        curve_steps=dict.fromkeys(kept, steps),
        images=len(of),
        nbytes=of.nbytes,
        seconds=12.5,
        settings={"epochs": 300, "labels": "hard"},
    )


def crop_choices(of, *, factor=2, crops=5, pool=12, side=4, seed=0, candidates=True):
    """Of each class `pool` real images, `crops` windows of each, the best-scored laid out in its images."""
    draw = torch.Generator().manual_seed(seed)
    C, cells = len(of.classes), factor**2
    labels = torch.arange(C).repeat_interleave(pool)
    score = torch.rand(len(labels), crops, generator=draw) * 3
    best = score.amin(1).view(C, pool)
    order = best.argsort(1)
    return CropChoices(
        source=torch.arange(len(labels)) * 3 + 5,
        labels=labels,
        windows=torch.randint(1, 4, (len(labels), crops, 3), generator=draw),
        score=score,
        chosen=score.argmin(1),
        rank=order.argsort(1).flatten(),
        picked=torch.stack([c * pool + order[c, : of.ipc * cells].view(of.ipc, cells) for c in range(C)]).flatten(0, 1),
        candidates=torch.randint(0, 256, (len(of), cells, crops, 1, side, side), generator=draw, dtype=torch.uint8)
        if candidates
        else None,
    )


def scaling(of, *, networks=4, seed=0, ratios=(0.1, 0.5, 0.9)):
    draw = torch.Generator().manual_seed(seed)
    names = ("raw", "TS", *(f"MTS {ratio:g}" for ratio in ratios), "oracle")
    ways, T = len(names), torch.logspace(-1.3, 1.3, 21, dtype=torch.float64)
    best = torch.tensor([1.0, 0.05, *torch.linspace(0.5, 1.5, len(ratios)).tolist(), 2.0], dtype=torch.float64)
    ends = {"TS": ("lower",) * networks, "MTS 0.1": ("lower", *[""] * (networks - 1))}
    curve = 0.2 + (T.log()[None] - best.log()[:, None]).square()
    curve[0] = torch.nan
    bins = evaluation(of).calibration[0]
    return TemperatureScaling(
        names=names,
        ratios=(math.nan, 0.0, *ratios, math.nan),
        temperature=best[:, None] * torch.ones(networks, dtype=torch.float64),
        bound=tuple(ends.get(name, ("",) * networks) for name in names),
        ece=0.1 + 0.01 * torch.arange(ways)[:, None] + 0.01 * torch.rand(ways, networks, generator=draw).double(),
        nll=0.5 + 0.1 * torch.rand(ways, networks, generator=draw).double(),
        accuracy=torch.full((networks,), 0.8, dtype=torch.float64),
        reliability=(bins,) * ways,
        temperatures=T,
        nll_curve=curve,
        max_logit={"distilled": torch.zeros(networks, len(of)), "test": torch.zeros(networks, 9)},
    )
