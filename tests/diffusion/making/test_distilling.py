"""The trainer: same bits from the same seed, resumed or not; stopped, broken and wrongly called runs end well."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from workbench import models, records
from workbench.diffusion import (
    BOOT,
    TDD,
    TSCD,
    Denoising,
    DistillationError,
    Feedback,
    Guided,
    NetworkDenoiser,
    OneStep,
    RectifiedFlow,
    Regression,
    Rescheduled,
    Run,
    VPCosine,
    VPLinear,
    adam,
    denoise,
    denoiser,
    distill,
    regress,
    ring,
    sample,
    usage,
)

SMALL = {"batch": 8, "steps": 6}
QUIET = {"progress": False}


@pytest.fixture(scope="module")
def begun():
    """A small network that has begun to be a ring."""
    network = models.build("denoiser-mlp", ((2,), 0), width=8, depth=2)
    return regress(ring(), network, batch=32, steps=20, **QUIET)


@dataclass(frozen=True, kw_only=True)
class Pulled:
    """Several losses an iteration, two networks, memory, an average, logged values: all that a run carries."""

    short: ClassVar[str] = "pulled"
    steps: int = 8
    decay: float = 0.9
    breaks_at: int = -1
    how: str = "loss"

    def networks(self, run: Run) -> dict[str, Any]:
        return {"student": run.start(), "fake": run.start()}

    def optimizers(self, networks: dict[str, Any]) -> dict[str, torch.optim.Optimizer]:
        return adam(networks, {"student": 1e-2, "fake": 2e-2})

    def pace(self, run: Run) -> float:
        return 1 - run.iteration / run.steps

    @property
    def sampling(self) -> dict[str, Any]:
        return {"times": torch.tensor([0.9, 0.3, 0.0]), "sampler": "consistency", "sampling": {"gamma": 0.5}}

    def losses(self, run: Run) -> Iterator[tuple[str, Tensor]]:
        mean = run.memory.setdefault("mean", torch.zeros(2))
        x, _ = run.real(4)
        t = run.uniform(4)
        for part in range(2):
            loss = (run.networks["fake"](run.noise(4, f"part {part}"), t).x0 - x).square().mean()
            yield "fake", loss
        made, told = run.student(x, t).x0, run.networks["fake"](x, t).x0
        loss = (made - told - mean).square().mean()
        if run.iteration == self.breaks_at:
            if self.how == "interrupt":
                raise KeyboardInterrupt
            zero = (made - made.detach()).sum()
            loss = loss * torch.nan if self.how == "loss" else loss + zero.abs().sqrt()
        yield "student", loss
        run.memory["mean"] = 0.9 * mean + 0.1 * made.detach().mean(0)
        run.log(drift=run.memory["mean"].norm(), **({"late": 1.0} if run.iteration > 2 else {}))


def same(a, b) -> None:
    for key, value in a.state.items():
        assert torch.equal(value, b.state[key]), key
    assert a.curves.keys() == b.curves.keys()
    for name, curve in a.curves.items():
        assert torch.equal(curve.nan_to_num(-1), b.curves[name].nan_to_num(-1)), name


METHODS = [
    Pulled(),
    Regression(decay=0.9, **SMALL),
    Denoising(**SMALL),
    TDD(target_decay=0.5, **SMALL),
    TSCD(segments=(2, 1), teacher="previous", jitter=0.5, adversarial=0.1, rank=2, **SMALL),
    BOOT(**SMALL),
    OneStep(pool=32, fake_start=2, **SMALL),
]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.short)
def test_same_seed_same_bits_and_another_seed_another_student(method, begun):
    before = torch.random.get_rng_state()
    first, again, other = (distill(ring(), method, network=begun, seed=s, **QUIET) for s in (1, 1, 2))
    same(first, again)
    assert any(not torch.equal(value, other.state[key]) for key, value in first.state.items())
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(bool(curve[-1].isfinite()) for curve in first.curves.values())


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.short)
def test_interrupted_and_resumed_from_a_file_is_a_run_in_one_go(method, begun, tmp_path):
    whole = distill(ring(), method, network=begun, **QUIET)

    half = _stopped(method, begun, at=4)
    assert half.interrupted
    assert half.iterations == 4
    half = records.open(half.save(tmp_path / "half.safetensors"))
    rest = distill(ring(), method, network=begun, resume=half, **QUIET)
    assert not rest.interrupted
    same(whole, rest)
    assert rest.provenance.wall_time > half.provenance.wall_time


def _stopped(method, begun, at):
    """The record of a run that an interrupt ended after an iteration."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return distill(
            ring(), method, network=begun, **QUIET,
            watch=lambda iteration, loss: os.kill(os.getpid(), signal.SIGINT) if iteration == at else None,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_interrupted_training_keeps_its_average(begun, capsys):
    stopped = _stopped(Pulled(), begun, at=5)
    assert "stopped after iteration 5 of 8; resume= continues" in capsys.readouterr().out
    raw = stopped.checkpoint["networks"]["student"]
    average = stopped.checkpoint["average"]
    for key, value in stopped.state.items():
        assert torch.equal(value, average[f"network.{key}"])
    assert any(not torch.equal(value, raw[f"network.{key}"]) for key, value in stopped.state.items())


def test_the_average_is_what_it_says(begun):
    """With constant decay d the weights are d θ̄ + (1 − d) θ after each step; early on d is at most n / (n + 9)."""
    seen = []
    method = Pulled(decay=0.5, steps=30)

    class Seeing(Pulled):
        def losses(self, run):
            yield from super().losses(run)
            seen.append({k: v.detach().clone() for k, v in run.student.network.state_dict().items()})

    made = distill(ring(), Seeing(decay=0.5, steps=30), network=begun, **QUIET)
    same(made.replace(curves={}), distill(ring(), method, network=begun, **QUIET).replace(curves={}))
    for key, value in made.state.items():
        average = begun.state[key].double()
        for n, weights in enumerate(seen, start=1):
            d = min(0.5, n / (n + 9))
            average = d * average + (1 - d) * weights[key].double()
        torch.testing.assert_close(value.double(), average, atol=1e-5, rtol=1e-5)


def test_torn_out_of_an_iteration_it_keeps_finite_weights_but_can_not_go_on(begun, capsys):
    torn = distill(ring(), Pulled(breaks_at=3, how="interrupt"), network=begun, **QUIET)
    assert torn.interrupted
    assert torn.iterations == 3
    assert "it can not be continued" in capsys.readouterr().out
    with pytest.raises(DistillationError, match="has no checkpoint"):
        distill(ring(), Pulled(breaks_at=3, how="interrupt"), network=begun, resume=torn, **QUIET)


@pytest.mark.parametrize(("how", "what"), [("loss", "loss of the student"), ("gradient", "student's gradient")])
def test_what_is_not_finite_stops_the_run_with_the_last_finite_weights(begun, how, what):
    with pytest.raises(DistillationError, match=f"the {what} became NaN or infinite at iteration 4 of 8") as caught:
        distill(ring(), Pulled(breaks_at=3, how=how), network=begun, **QUIET)
    kept = caught.value.record
    assert kept.interrupted
    assert all(bool(value.isfinite().all()) for value in kept.state.values())
    same(kept, distill(ring(), Pulled(), network=begun, steps=8, **QUIET).replace(
        state=_stopped(Pulled(), begun, at=3).state, curves=kept.curves))  # fmt: skip


def test_another_run_is_not_continued(begun):
    made = distill(ring(), Pulled(), network=begun, steps=2, **QUIET)
    with pytest.raises(DistillationError, match=r"decay=0\.9, now it is 0\.8"):
        distill(ring(), Pulled(decay=0.8), network=begun, resume=made, **QUIET)
    with pytest.raises(DistillationError, match="seed=0, now it is 1"):
        distill(ring(), Pulled(), network=begun, seed=1, resume=made, **QUIET)
    with pytest.raises(DistillationError, match="2 iterations already, more than iterations=1"):
        distill(ring(), Pulled(), network=begun, steps=1, resume=made, **QUIET)
    wider = regress(ring(), models.build("denoiser-mlp", ((2,), 0), width=9, depth=2), batch=8, steps=1, **QUIET)
    with pytest.raises(DistillationError, match="no student that fits this run's"):
        distill(ring(), Pulled(), network=wider, resume=made, **QUIET)


class KilledError(Exception):
    pass


@pytest.mark.parametrize("again", [{}, {"checkpoint_every": 3}], ids=["each hundredth", "each third"])
def test_a_killed_run_goes_on_from_its_file_to_the_same_bits(begun, tmp_path, again):
    path = tmp_path / "run.safetensors"
    whole = distill(ring(), Pulled(), network=begun, **QUIET)

    def kill(iteration, loss):
        if iteration == 5:
            raise KilledError

    with pytest.raises(KilledError):
        distill(ring(), Pulled(), network=begun, checkpoint=path, watch=kill, **again, **QUIET)
    assert records.open(path).iterations == (3 if again else 5)
    assert records.open(path).interrupted
    with pytest.raises(ValueError, match="holds an unfinished run"):
        distill(ring(), Pulled(), network=begun, checkpoint=path, **QUIET)
    rest = distill(ring(), Pulled(), network=begun, checkpoint=path, resume=path, **QUIET)
    same(whole, rest)
    same(whole, records.open(path))
    assert not records.open(path).interrupted
    with pytest.raises(ValueError, match="no checkpoint is written: pass checkpoint= a path"):
        distill(ring(), Pulled(), network=begun, checkpoint_every=2, **QUIET)


def test_a_killed_fit_goes_on_too(tmp_path):
    path = tmp_path / "fit.safetensors"
    network = models.build("denoiser-mlp", ((2,), 0), width=8, depth=2)
    whole = regress(ring(), network, batch=8, iterations=4, **QUIET)

    def kill(iteration, loss):
        if iteration == 2:
            raise KilledError

    with pytest.raises(KilledError):
        regress(ring(), network, batch=8, iterations=4, checkpoint=path, watch=kill, **QUIET)
    same(whole, regress(ring(), network, batch=8, steps=4, resume=path, **QUIET))


def test_resume_on_other_data_or_from_another_teacher_is_refused_by_name(begun, tmp_path):
    points = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    method = Denoising(batch=4)
    path = distill(ring(), method, network=begun, data=points, steps=2, **QUIET).save(tmp_path / "made.safetensors")
    assert distill(ring(), method, network=begun, data=points.clone(), steps=3, resume=path, **QUIET).iterations == 3
    with pytest.raises(DistillationError, match="made from other data: its examples or labels differ"):
        distill(ring(), method, network=begun, data=points + 1e-3, steps=3, resume=path, **QUIET)
    with pytest.raises(DistillationError, match="made from other data"):
        distill(ring(), method, network=begun, steps=3, resume=path, **QUIET)
    with pytest.raises(
        DistillationError, match=r"made from another teacher: .*\(it was made from GaussianMixture of 8"
    ):
        distill(ring(std=0.1), method, network=begun, data=points, steps=3, resume=path, **QUIET)
    with pytest.raises(DistillationError, match="made by denoising, now it is regression"):
        distill(ring(), Regression(batch=4), network=begun, data=points, steps=3, resume=path, **QUIET)


def test_a_record_of_before_there_were_fingerprints_is_continued(begun):
    half = distill(ring(), Regression(batch=4), network=begun, steps=2, **QUIET)
    old = half.replace(settings={k: v for k, v in half.settings.items() if not k.endswith("fingerprint")})
    assert distill(ring(), Regression(batch=4), network=begun, steps=3, resume=old, **QUIET).iterations == 3
    with pytest.raises(
        DistillationError, match="teacher='GaussianMixture of 8 parts', now it is 'GaussianMixture of 5"
    ):
        distill(ring(5), Regression(batch=4), network=begun, steps=3, resume=old, **QUIET)


def test_weights_of_a_network_teacher_and_its_guidance_are_told_apart(begun):
    from workbench.diffusion.making.identity import teacher_fingerprint

    one, again = denoiser(begun), denoiser(begun)
    assert teacher_fingerprint(one) == teacher_fingerprint(again)
    with torch.no_grad():
        next(again.parameters()).view(-1)[0] += 1e-6
    classed = ring(classes=2)
    known = [one, again, classed, Guided(classed, 2.0), Guided(classed, 3.0), Rescheduled(classed, VPLinear())]
    assert len({teacher_fingerprint(model) for model in known}) == len(known)
    assert teacher_fingerprint(object()) == ""


def test_iterations_and_steps_are_one_and_the_same(begun):
    same(
        distill(ring(), Regression(batch=4), network=begun, iterations=2, **QUIET),
        distill(ring(), Regression(batch=4), network=begun, steps=2, **QUIET),
    )
    with pytest.raises(ValueError, match="iterations is 2 and steps 3: they are the same"):
        distill(ring(), Regression(batch=4), network=begun, iterations=2, steps=3, **QUIET)
    with pytest.raises(ValueError, match=r"iterations is 1\.5; it must be a whole number"):
        distill(ring(), Regression(batch=4), network=begun, iterations=1.5, **QUIET)


def test_the_record_says_how_the_student_is_used(begun, tmp_path):
    made = distill(ring(), Pulled(), network=begun, name="pulled one", **QUIET)
    back = records.open(made.save(tmp_path / "made.safetensors"))
    assert (back.name, back.method, back.steps, back.role, back.iterations) == ("pulled one", "pulled", 2, "student", 8)
    used = usage(back)
    assert used["sampler"].gamma == 0.5
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(0))
    samples = sample(denoiser(back), noise, **used)
    assert torch.equal(samples, sample(denoiser(made), noise, **usage(made)))
    assert used["steps"].tolist() == pytest.approx([0.9, 0.3, 0.0])
    assert back.curves["late"].isnan().tolist() == [True] * 3 + [False] * 5
    assert next(iter(back.to_frame())) == "iteration"
    assert "2 steps by consistency" in back.summary()
    assert begun.role == "teacher"


def test_a_fit_says_what_the_teacher_says():
    fitted = regress(ring(), batch=256, steps=200, **QUIET)
    x, t = torch.randn(200, 2, generator=torch.Generator().manual_seed(0)), torch.tensor(0.6)
    x = ring().schedule.diffuse(ring().sample(200, torch.Generator().manual_seed(1))[0], x, t)
    wanted, told = ring()(x, t).x0, denoiser(fitted)(x, t).x0
    assert float((told - wanted).square().mean()) < 0.05 * float(wanted.square().mean() + 1)
    start = regress(ring(), batch=256, steps=0, **QUIET)
    assert float((told - wanted).square().mean()) < 0.3 * float((denoiser(start)(x, t).x0 - wanted).square().mean())


@pytest.mark.parametrize("kind", ["x0", "velocity", "noise"])
def test_a_network_of_every_kind_is_fitted(kind):
    made = regress(ring(schedule=VPCosine()), kind=kind, batch=16, steps=2, **QUIET)
    assert made.kind == kind
    assert made.schedule["name"] == "VPCosine"


def test_a_student_starts_from_its_teachers_network(begun):
    teacher = denoiser(begun)
    made = distill(teacher, Regression(batch=8), steps=0, **QUIET)
    same(made.replace(curves={}), begun.replace(curves={}))
    # What is trained is a copy: the teacher keeps its weights.
    distill(begun, TDD(batch=8, steps=3), **QUIET)
    assert all(torch.equal(value, begun.state[key]) for key, value in teacher.network.state_dict().items())


def test_a_network_teacher_without_data_gives_samples_of_its_own(begun):
    made = distill(begun, Denoising(batch=8, steps=2), **QUIET)
    assert bool(made.curves["student"].isfinite().all())


def test_without_a_class_told_the_empty_branch_stays_as_it_was():
    """Unconditional fraction 0 leaves the branch that guidance needs untrained (paper 071)."""
    teacher = ring(classes=2)
    network = models.build("denoiser-mlp", ((2,), 2), width=8, depth=2)
    start = regress(teacher, network, batch=16, steps=5, **QUIET)
    made = {
        share: distill(teacher, TDD(batch=32, steps=3, guidance=2.0, unconditional=share), network=start, **QUIET)
        for share in (0.0, 0.5)
    }
    tables = {share: one.state["classes.table.weight"] for share, one in made.items()}
    before = start.state["classes.table.weight"]
    assert torch.equal(tables[0.0][2], before[2])
    assert not torch.equal(tables[0.0][:2], before[:2])
    assert not torch.equal(tables[0.5][2], before[2])


def test_feedback_moves_samples_towards_the_reward_and_keeps_the_times(begun):
    student = distill(ring(), TDD(use=2, **SMALL), network=begun, **QUIET)
    kept = {key: value.clone() for key, value in student.state.items()}

    def right(x):
        return x[:, 0]

    noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    moved = []
    for strength in (0.0, 1.0):
        method = Feedback(reward=right, strength=strength, batch=32, steps=15, lr=0.02)
        better = distill(ring(), method, network=student, **QUIET)
        moved.append(float(sample(denoiser(better), noise, **usage(better))[:, 0].mean()))
        assert torch.equal(better.times, student.times)
    assert moved[1] > moved[0] + 0.05
    assert all(torch.equal(value, kept[key]) for key, value in student.state.items())
    with pytest.raises(ValueError, match="must be the record of a few-step student"):
        distill(ring(), Feedback(reward=right), network=begun, **QUIET)


def test_what_does_not_fit_is_refused(begun):
    with pytest.raises(ValueError, match="on VPLinear"):
        distill(ring(schedule=VPLinear()), TDD(**SMALL), network=begun, **QUIET)
    with pytest.raises(ValueError, match="network knows 0 classes, the teacher 2"):
        distill(ring(classes=2), TDD(**SMALL), network=begun, **QUIET)
    with pytest.raises(ValueError, match=r"data has examples of shape \(3,\)"):
        distill(ring(), TDD(**SMALL), network=begun, data=torch.zeros(4, 3), **QUIET)
    with pytest.raises(ValueError, match="steps is -1"):
        distill(ring(), TDD(**SMALL), network=begun, steps=-1, **QUIET)
    with pytest.raises(ValueError, match="classes are 3 names"):
        distill(ring(classes=2), Regression(**SMALL), classes="abc", **QUIET)
    noisy = regress(ring(), "denoiser-mlp", kind="noise", batch=8, steps=1, **QUIET)
    with pytest.raises(ValueError, match="predicts 'noise'; a signal is learned"):
        distill(ring(), BOOT(**SMALL), network=noisy, **QUIET)
    with pytest.raises(ValueError, match=r"stride=0\.0"):
        BOOT(stride=0.0)
    with pytest.raises(ValueError, match="segments is empty"):
        TSCD(segments=())
    with pytest.raises(ValueError, match="teacher is 'other'"):
        TSCD(teacher="other")
    with pytest.raises(ValueError, match="weight is 'odd'"):
        distill(ring(), Regression(weight="odd", **SMALL), **QUIET)
    with pytest.raises(ValueError, match="3 examples and 2 labels"):
        denoise((torch.zeros(3, 2), torch.zeros(2)), **QUIET)


def test_guided_and_rescheduled_teachers_teach():
    teacher = Guided(Rescheduled(ring(classes=2), VPLinear()), 2.0)
    made = distill(teacher, Regression(batch=8, steps=2), **QUIET)
    assert made.schedule["name"] == "VPLinear"
    assert made.classes == ("0", "1")
    assert "guided by 2" in made.settings["teacher"]


def test_points_of_ones_own_are_learned():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    made = denoise((points, torch.arange(50) % 2), batch=8, steps=2, classes=("even", "odd"), **QUIET)
    assert made.shape == (3,)
    assert made.classes == ("even", "odd")
    assert denoise(points, batch=8, steps=1, **QUIET).classes == ()
    assert isinstance(denoiser(made), NetworkDenoiser)
    assert RectifiedFlow().spec == made.schedule


class Own(torch.nn.Module):
    """A network that `build` does not know."""

    def __init__(self, width=2):
        super().__init__()
        self.layer = torch.nn.Linear(3, width)

    def forward(self, x, t):
        return self.layer(torch.cat([x, t[:, None]], 1))


def test_a_network_of_the_users_own_opens_again_when_it_is_passed(tmp_path):
    made = regress(ring(), Own(), batch=8, steps=1, **QUIET)
    x, t = torch.ones(3, 2), torch.tensor(0.5)
    opened = records.open(made.save(tmp_path / "own.safetensors"))
    with pytest.raises(TypeError, match=r"'Regression' holds .* does not know: pass network= one of the same architec"):
        denoiser(opened)
    given = Own()
    before = given.layer.weight.clone()
    for network in (given, NetworkDenoiser(given, RectifiedFlow(), (2,))):
        assert torch.equal(denoiser(opened, network=network)(x, t).x0, denoiser(made)(x, t).x0)
    assert torch.equal(given.layer.weight, before)
    with pytest.raises(ValueError, match=r"network has layer.weight of shape \(4, 3\), the record's is \(2, 3\)"):
        denoiser(opened, network=Own(4))
    with pytest.raises(ValueError, match=r"a Linear, has no 'layer\.bias', which the record has"):
        denoiser(opened, network=torch.nn.Linear(3, 2))
    more = Own()
    more.more = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"an? Own, has 'more\.bias', which the record lacks"):
        denoiser(opened, network=more)
    with pytest.raises(TypeError, match="network is a str; it must be a module"):
        denoiser(opened, network="own")
    # A student goes on from such a record once its network is passed.
    again = distill(ring(), TDD(**SMALL), network=denoiser(opened, network=Own()), **QUIET)
    assert torch.equal(denoiser(again, network=Own())(x, t).x0, denoiser(again)(x, t).x0)


def test_times_of_a_record_fall(begun):
    with pytest.raises(ValueError, match="each smaller than the last"):
        replace(begun, times=torch.tensor([0.1, 0.5]))
