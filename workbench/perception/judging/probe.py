"""`probe`: what a linear head reads off a frozen encoder; `drift`: how far its features move when the sound is heard in
noise.
"""

import torch
from torch import Tensor, nn

from workbench.analysis.probes import ridge_probe
from workbench.data import Split
from workbench.models import Outputs, observe
from workbench.models.speech import SpeechEncoder

BATCH = 256


@torch.no_grad()
def probe(encoder: nn.Module, split: Split) -> nn.Module:
    """Fit the encoder's head, a linear classifier of its mean frame, on labelled sounds; nothing else changes.

    Ridge regression onto one-hot labels; leave-one-out on these sounds chooses the penalty.

    Parameters
    ----------
    encoder
        Made by `workbench.models.build("speech", data)`.
    split
        Sounds with classes, as many as the head scores; clean ones, mostly ``data.train``.

    Returns
    -------
    nn.Module
        The encoder. `workbench.training.evaluate` says how good it is, on clean sounds and on others.

    Examples
    --------
    >>> import workbench as wb
    >>> data = wb.data.load("words", n_train=80, n_test=20, words=4)
    >>> encoder = wb.models.build("speech", data, width=16, depth=1, kernels=[20, 8], strides=[10, 8])
    >>> wb.training.evaluate(probe(encoder, data.train), data.test)["accuracy"] > 0.25
    True
    """
    if not isinstance(encoder, SpeechEncoder):
        raise ValueError(  # noqa: TRY004 - one error for all arguments
            f"encoder is a {type(encoder).__name__}; it must be made by workbench.models.build('speech')"
        )
    if len(split.classes) != encoder.head.out_features:
        raise ValueError(
            f"split has {len(split.classes)} classes, but the encoder's head scores {encoder.head.out_features}"
        )
    pooled = heard_by(encoder, split.inputs).features["pool"].cpu()
    width = pooled.shape[1]
    # The fitted scores are affine in the features: at 0 they are the bias, at a unit vector bias plus its weights.
    basis = torch.cat([torch.zeros(1, width), torch.eye(width)])
    _, scores, _ = ridge_probe(pooled, split.labels.cpu(), basis, len(split.classes))
    encoder.head.bias.copy_(scores[0])
    encoder.head.weight.copy_((scores[1:] - scores[0]).T)
    return encoder


@torch.no_grad()
def drift(encoder: nn.Module, clean: Tensor, heard: Tensor) -> Tensor:
    """How far each frame's features move from the clean sound to what is heard, relative to the spread of clean ones.

        d_t = ‖z_t(x̃) − z_t(x)‖ / √(mean ‖z(x) − z̄(x)‖²)

    Parameters
    ----------
    clean, heard
        x and x̃, shape (n, samples), of which the padding agrees.

    Returns
    -------
    Tensor
        Shape (n, frames), on the CPU; NaN in padding.
    """
    return moved(heard_by(encoder, clean), heard_by(encoder, heard))


def moved(clean: Outputs, heard: Outputs) -> Tensor:
    """`drift` of what `heard_by` gave."""
    before, after, there = clean.features["context"], heard.features["context"], clean.features["frames"]
    spread = (before - before[there].mean(0)).square().sum(-1)[there].mean().sqrt()
    found: Tensor = (after - before).norm(dim=-1) / spread
    return found.masked_fill(~there, torch.nan).cpu()


@torch.no_grad()
def heard_by(encoder: nn.Module, waves: Tensor) -> Outputs:
    """Logits and the features ``frames``, ``context`` and ``pool`` of sounds, in eval mode, where the encoder is."""
    mode = encoder.training
    look, own = observe(encoder.eval(), ("frames", "context", "pool")), next(encoder.parameters())
    parts = [look(batch.to(own)) for batch in waves.split(BATCH)]
    encoder.train(mode)
    return Outputs(
        torch.cat([part.logits for part in parts]),
        {name: torch.cat([part.features[name] for part in parts]) for name in look.layers},
    )
