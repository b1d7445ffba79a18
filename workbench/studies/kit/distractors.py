"""What a pool from the wild holds besides examples of the classes: noise, merged and scrambled ones, photographs."""

import dataclasses

import torch
from sklearn.datasets import load_sample_images

from workbench.data import Split, unlabelled


def distractors(split: Split, count: int, seed: int = 0) -> Split:
    """A pool of `count` examples that show none of the classes, of the shape and scale of the split's.

    In turn: normal noise as spread as the examples are; means of two examples; examples whose values have changed
    places, all in the same way; and for images patches of two photographs, in grey where there is one channel. Their
    `index` is −1: they come from no source.

    Examples
    --------
    >>> import workbench as wb
    >>> distractors(wb.data.load("digits").train, 30)
    Split(30 × 1×8×8, 10 classes, cpu)
    """
    generator = torch.Generator().manual_seed(seed)
    x = split.inputs.cpu()
    flat = x.flatten(1)
    a, b = (torch.randint(len(x), (count,), generator=generator) for _ in range(2))
    places = torch.randperm(flat.shape[1], generator=generator)
    noise = flat.mean(0) + flat.std(0) * torch.randn(count, flat.shape[1], generator=generator)
    kinds = [noise, (flat[a] + flat[b]) / 2, flat[a][:, places]]
    if len(split.shape) == 3:
        kinds.append(((_patches(split, count, generator) - split.mean.cpu()) / split.std.cpu()).flatten(1))
    which = torch.arange(count) % len(kinds)
    made = torch.stack(kinds, 1)[torch.arange(count), which].view(count, *split.shape).to(x)
    pool = unlabelled(split.to("cpu").take(torch.zeros(count, dtype=torch.int64)))
    return dataclasses.replace(pool, inputs=made, index=torch.full((count,), -1)).to(split.device)


def _patches(split: Split, count: int, generator: torch.Generator) -> torch.Tensor:
    """Squares of photographs, raw in 0..1, at the size of the split's images."""
    channels, height, width = split.shape
    found = []
    for photograph in load_sample_images().images:
        whole = torch.tensor(photograph).permute(2, 0, 1).float() / 255
        small = torch.nn.functional.avg_pool2d(whole, 8) if min(whole.shape[1:]) >= 16 * max(height, width) else whole
        found.append(small if channels == 3 else small.mean(0, keepdim=True).expand(channels, -1, -1))
    patches = []
    for k in range(count):
        image = found[k % len(found)]
        top = int(torch.randint(image.shape[1] - height + 1, (), generator=generator))
        left = int(torch.randint(image.shape[2] - width + 1, (), generator=generator))
        patches.append(image[:, top : top + height, left : left + width])
    return torch.stack(patches)
