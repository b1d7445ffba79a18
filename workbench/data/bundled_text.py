"""English that every installation has: what scikit-learn says about the data sets it comes with."""

from importlib import resources

import torch

from workbench.data.dataset import Dataset
from workbench.data.text import pieces


def descriptions(
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    prompt: int = 8,
    response: int = 24,
    test_fraction: float = 0.2,
) -> Dataset:
    """About 43,000 characters of technical English in pieces: how each begins, and how it goes on.

    The text is that of the installed scikit-learn, so another version may say it otherwise.

    Parameters
    ----------
    seed, device, prompt, response, test_fraction
        As for `text`.

    Examples
    --------
    >>> data = descriptions()
    >>> data.shape, len(data.train) > 800
    ((8, 24), True)
    """
    folder = resources.files("sklearn.datasets.descr")
    files = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".rst")), key=lambda entry: entry.name)
    whole = "\n".join(file.read_text(encoding="utf-8") for file in files)
    return pieces(
        whole, "descriptions", seed=seed, device=device, prompt=prompt, response=response, test_fraction=test_fraction
    )
