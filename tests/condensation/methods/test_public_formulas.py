"""Losses and gradients of each method beside the public code's formulas, written out anew, on the same batches."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from workbench.condensation import (
    DREAM,
    FTD,
    GSAM,
    MTT,
    NCFM,
    DataDAM,
    DistributionMatching,
    Experts,
    Fresh,
    GradientMatching,
    InnerTraining,
    Run,
    Siamese,
    idc,
)
from workbench.condensation.making.crops import pad
from workbench.condensation.making.networks import Trained, pretrain
from workbench.condensation.methods.rded import crop_scores

SMALL = {"width": 4, "depth": 2}
GREY = Siamese("color+crop+cutout+scale+rotate")
IPC, REAL = 2, 5


def stages(network, images):
    """Activations after each stage's ReLU and the flat input of the last layer, of a ConvNet called as its parts."""
    seen, x = [], images
    for name, module in network.named_children():
        if name.startswith("stage"):
            for part in module:
                x = part(x)
                if isinstance(part, torch.nn.ReLU):
                    seen.append(x)
    return seen, x.flatten(1)


def sides(run, synthetic, augment, batch=None):
    """The real and the synthetic images of each class, augmented alike."""
    real = run.real(REAL) if batch is None else run.split.inputs[batch.rows]
    generator = run.generator("augment")
    for c in range(run.classes):
        change = (lambda x: x) if augment is None else augment.shared(generator)
        yield c, change(real[c]), change(synthetic[c * IPC : (c + 1) * IPC])


def gradients(network, images, label, *, graph):
    loss = F.cross_entropy(network(images), torch.full((len(images),), label))
    return torch.autograd.grad(loss, list(network.parameters()), create_graph=graph)


def matching(distance: str, *, head: bool, augment=None, trained: bool = False, dream: bool = False):
    def compare(data):
        network = Trained(pretrain(data.train, networks=1, epochs=30, lr=0.05, options=SMALL)) if trained else "convnet"
        host = GradientMatching(
            ipc=IPC, real_batch=REAL, distance=distance, head=head, augment=augment, network=network,
            options={} if trained else SMALL, training=InnerTraining(steps=1),
        )  # fmt: skip
        method = DREAM(host=host) if dream else host
        run = Run(data.train, seed=0, device=torch.device("cpu"))
        synthetic = method.start(run)
        ours = next(iter(method.losses(run, synthetic)))
        theta = host.networks.draw(run).requires_grad_(True)
        pixels, theirs = synthetic.pixels, torch.zeros((), dtype=torch.float64)
        chosen = None
        if dream:
            kept = run.memory["representative"]
            chosen = type("Batch", (), kept)
        for c, real, mine in sides(run, pixels, augment, chosen):
            for (name, _), r, s in zip(
                theta.named_parameters(),
                gradients(theta, real, c, graph=False),
                gradients(theta, mine, c, graph=True),
                strict=True,
            ):
                if r.ndim == 1 or (not head and name.startswith("head")):
                    continue
                if distance == "cosine":
                    a, b = r.reshape(len(r), -1), s.reshape(len(s), -1)
                    theirs = theirs + (1 - (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-6)).sum()
                else:
                    theirs = theirs + ((r - s) ** 2).sum()
        return ours, theirs, pixels

    return compare


def means(data):
    method = DistributionMatching(ipc=IPC, real_batch=REAL, augment=GREY, options=SMALL)
    run = Run(data.train, seed=0, device=torch.device("cpu"))
    synthetic = method.start(run)
    ours = next(method.losses(run, synthetic))
    theta, theirs = run.network("convnet", **SMALL), torch.zeros((), dtype=torch.float64)
    for _, real, mine in sides(run, synthetic.pixels, GREY):
        theirs = theirs + ((stages(theta, real)[1].mean(0) - stages(theta, mine)[1].mean(0)) ** 2).sum()
    return ours, theirs, synthetic.pixels


def attention(power):
    def compare(data):
        method = DataDAM(ipc=IPC, real_batch=REAL, power=power, augment=GREY, options=SMALL)
        run = Run(data.train, seed=0, device=torch.device("cpu"))
        synthetic = method.start(run)
        ours = next(method.losses(run, synthetic))
        theta, theirs = run.network("convnet", **SMALL), torch.zeros((), dtype=torch.float64)
        for _, real, mine in sides(run, synthetic.pixels, GREY):
            (maps_r, out_r), (maps_s, out_s) = stages(theta, real), stages(theta, mine)
            for pair in zip(maps_r[:-1], maps_s[:-1], strict=True):
                r, s = (F.normalize((x.abs() ** power).sum(1).reshape(len(x), -1), p=2.0) for x in pair)
                theirs = theirs + 100 * ((r.mean(0) - s.mean(0)) ** 2).sum()
            theirs = theirs + 100 * 0.01 * ((out_r.mean(0) - out_s.mean(0)) ** 2).sum()
        return ours, theirs, synthetic.pixels

    return compare


def characteristic(data):
    method = NCFM(
        ipc=IPC, real_batch=REAL, frequencies=64, factor=1, calibration=0.0, augment=GREY, alpha=0.3, beta=0.7,
        network=Fresh("convnet", SMALL), updates="all classes at once",
    )  # fmt: skip
    run = Run(data.train, seed=0, device=torch.device("cpu"))
    synthetic = method.start(run)
    ours = next(method.losses(run, synthetic))
    theta, frequencies = run.network("convnet", **SMALL), run.generator("frequencies")
    theirs = torch.zeros((), dtype=torch.float64)
    for _, real, mine in sides(run, synthetic.pixels, GREY):
        r, s = (F.normalize(stages(theta, x)[1], dim=1) for x in (real, mine))
        t = torch.randn(64, r.shape[1], generator=frequencies).double()
        R, S = (torch.stack([torch.cos(t @ x.T).mean(1), torch.sin(t @ x.T).mean(1)]) for x in (r, s))
        amplitude = (R.norm(dim=0) - S.norm(dim=0)) ** 2
        phase = 2 * (R.norm(dim=0) * S.norm(dim=0) - (R * S).sum(0))
        theirs = theirs + 300 * (0.3 * amplitude + 0.7 * phase.clamp(min=1e-12)).sqrt().mean()
    return ours, theirs, synthetic.pixels


def trajectory(kind, rule):
    def compare(data):
        experts = Experts(
            count=2, epochs=3, lr=0.05, batch_size=8, network="mlp", options={"width": 6, "depth": 1}, rule=rule
        ).train(data, device="cpu", progress=False)
        method = kind(ipc=IPC, steps=4, span=1, latest=2, step_size=0.1, experts=experts)
        run = Run(data.train, seed=0, device=torch.device("cpu"))
        synthetic = method.start(run)
        ours = next(method.losses(run, synthetic))
        draws = run.generator("segment")
        expert, epoch = (int(torch.randint(n, (), generator=draws)) for n in (2, 2))
        start, target = experts.at(expert, epoch), experts.at(expert, epoch + 1)
        network, names = experts.network(), list(experts.shapes)
        student, alpha = start.clone().requires_grad_(), synthetic.leaves["log_step_size"].exp()
        for _ in range(4):
            parts = student.split([torch.Size(shape).numel() for shape in experts.shapes.values()])
            weights = {name: part.view(experts.shapes[name]) for name, part in zip(names, parts, strict=True)}
            logits = torch.func.functional_call(network, weights, (synthetic.pixels,))
            loss = F.cross_entropy(logits, torch.arange(3).repeat_interleave(IPC))
            (slope,) = torch.autograd.grad(loss, student, create_graph=True)
            student = student - alpha * slope
        theirs = ((student - target) ** 2).sum() / ((start - target) ** 2).sum()
        return ours, theirs, synthetic.pixels

    return compare


CASES: dict[str, Callable] = {
    "DC": matching("cosine", head=True),
    "DC, trained network": matching("cosine", head=True, trained=True),
    "DSA": matching("cosine", head=True, augment=GREY),
    "IDC": matching("squared", head=False, augment=GREY),
    "DREAM": matching("squared", head=False, dream=True),
    "DM": means,
    "DataDAM, p = 1": attention(1.0),
    "DataDAM, p = 4": attention(4.0),
    "NCFM": characteristic,
    "MTT": trajectory(MTT, None),
    "FTD": trajectory(FTD, GSAM(rho=0.1, adaptive=False)),
}


def compared(name, data) -> tuple[float, float]:
    """Relative difference of the losses, and of the gradients with respect to the images."""
    ours, theirs, pixels = CASES[name](data)
    mine, public = (torch.autograd.grad(loss, pixels, retain_graph=True)[0] for loss in (ours, theirs))
    assert public.norm() > 0
    return ((ours - theirs).abs() / theirs.abs()).item(), ((mine - public).norm() / public.norm()).item()


@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradient_are_those_of_the_public_formula(tiny, name):
    loss, gradient = compared(name, tiny)
    assert loss < 1e-9
    assert gradient < 1e-8


def test_idc_is_gradient_matching_as_compared_here():
    method = idc(ipc=1)
    assert (method.distance, method.head, method.training.on) == ("squared", False, "real")


def test_rdeds_scores_are_the_public_ones(tiny):
    """Cross-entropy, by softmax and log, of crops amid zeros; the lowest of an image's crops is the one that counts."""
    teacher = pretrain(tiny.train, networks=1, epochs=1, options=SMALL)[0].model.double()
    few = tiny.train.take(torch.arange(4))
    windows = torch.tensor([[[0, 0, 4], [1, 2, 3]]]).expand(4, 2, 3)
    ours = crop_scores(teacher, few, windows, (3, 3))
    for i in range(4):
        for k, (top, left, side) in enumerate(windows[i].tolist()):
            crop = few.inputs[i : i + 1, :, top : top + side, left : left + side]
            small = F.interpolate(crop, size=(3, 3), mode="bilinear", antialias=True, align_corners=False)
            around = torch.zeros(1, 1, 6, 6, dtype=torch.float64)
            around[..., 1:4, 1:4] = small
            assert torch.equal(around, pad(small, (6, 6)))
            share = torch.softmax(teacher.eval()(around), 1)[0, int(few.labels[i])]
            torch.testing.assert_close(ours[i, k], -share.log(), rtol=1e-6, atol=1e-6)
