"""Base and student share a run: the ends are theirs alone, the draws are the same, and a planted collapse is found."""

import math

import pytest
import torch

from workbench.diffusion import (
    DDIM,
    Heun,
    Prediction,
    RectifiedFlow,
    Renoise,
    Rescheduled,
    SamplingError,
    Trig,
    denoiser,
    hand_over,
    hybrid,
    regress,
    ring,
    sample,
)
from workbench.diffusion.sampling.sampling import redraws
from workbench.records import open as open_record
from workbench.studies.diffusion.planting import Planted, planted_collapse
from workbench.studies.kit.diffusing import teacher

DOUBLE = torch.float64
TIMES = torch.tensor([0.99, 0.4, 0.25, 0.12, 0.0], dtype=DOUBLE)


def normal(n, d=2, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def student():
    return ring(modes=6, std=0.1, dtype=DOUBLE)


@pytest.mark.parametrize("rule", [Renoise(), Renoise(gamma=0.4), DDIM(churn=1.0), Heun()], ids=repr)
def test_no_base_step_is_the_student_and_all_are_the_base_bit_for_bit(rule):
    base, noise = ring(dtype=DOUBLE), normal(20)
    shared = hand_over(base, student(), noise, times=TIMES, base_sampler=rule, student_sampler="consistency", seed=3)

    def alone(model, sampler):
        return sample(model, noise, sampler=sampler, steps=TIMES, generator=redraws(3))

    assert torch.equal(shared.switches[0], alone(student(), "consistency"))
    assert torch.equal(shared.switches[-1], alone(base, rule))
    assert torch.equal(shared.switches[1], shared.positions[0])


@pytest.mark.parametrize("rule", ["ddim", "consistency", "dpm-solver++", "ancestral"])
def test_one_network_on_both_sides_gives_one_sample(rule):
    """Rules that look back do so across the hand-over too; each step draws the same, whoever makes it."""
    same = ring(dtype=DOUBLE)
    shared = hand_over(same, same, normal(10), times=TIMES, base_sampler=rule, student_sampler=rule)
    for samples in (*shared.switches, *shared.positions):
        assert torch.equal(samples, shared.switches[0])


def test_what_a_step_draws_does_not_depend_on_the_others():
    """The base jumps without drawing at step 1; the student's draws at steps 2 and 3 stay those of its own run."""
    drawn = []

    class Watching(Renoise):
        def __call__(self, step):
            drawn.append((step.number, step.draw()))
            return step.jump() + drawn[-1][1]

    for steps in ((), (1,)):
        hybrid(
            ring(dtype=DOUBLE), student(), normal(5), times=TIMES, base_steps=steps, student_sampler=Watching(), seed=1
        )
    assert [number for number, _ in drawn] == [0, 1, 2, 3, 1, 2, 3]
    for (_, alone), (_, together) in zip(drawn[1:4], drawn[4:], strict=True):
        assert torch.equal(alone, together)


def test_calls_are_counted_by_who_makes_them():
    shared = hand_over(ring(), student(), normal(8).float(), times=TIMES)
    assert shared.base_calls.tolist() == [0, 1, 2, 3, 4]
    assert (shared.base_calls + shared.student_calls).tolist() == [4] * 5
    assert shared.position_base_calls.tolist() == [1] * 4
    own = hand_over(ring(), student(), normal(8).float(), times=TIMES, own_schedule=20)
    assert own.base_calls.tolist() == [0, 12, 15, 18, 20]  # 0.99 × (1 − j / 20) > 0.4 for the first 12
    assert own.student_calls.tolist() == [4, 3, 2, 1, 0]
    assert torch.equal(own.switches[0], shared.switches[0])
    assert torch.equal(own.positions[1:], shared.positions[1:])


def test_a_schedule_of_its_own_ends_at_the_hand_over_or_at_its_nearest_time():
    base, noise = ring(dtype=DOUBLE), normal(6)
    met = hybrid(base, student(), noise, times=TIMES, base_steps=(1,), own_schedule=8)
    assert met.times.tolist()[-3:] == [0.4, 0.25, 0.12]
    assert float(met.times[4]) == pytest.approx(0.99 * 0.5)
    assert met.calls == 8
    near = hybrid(base, student(), noise, times=TIMES, base_steps=(1,), own_schedule=8, meet=False)
    assert float(near.times[4]) == pytest.approx(0.99 * 0.5)  # the last base step ends at 0.99 × 3/8 = 0.371
    assert near.states.shape == (8, 6, 2)
    whole = hand_over(base, student(), noise, times=TIMES, own_schedule=30, base_sampler="heun")
    fine = sample(base, noise, sampler="heun", steps=base.schedule.grid(30, latest=0.99))
    assert torch.equal(whole.switches[-1], fine)


@pytest.mark.parametrize("j", [1, 2, 3, 4])
def test_a_planted_collapse_is_repaired_by_the_base_at_that_step_and_no_other(j):
    """Step j knows half of the modes, all else is exact; only the base at step j brings the others back."""
    shared = planted_collapse(teacher("ring8"), TIMES, j, normal(2_000, seed=j).float())
    entropy = shared.measures["entropy"]
    alone = float(entropy["switches"][0])
    assert alone == pytest.approx((0.89, 0.82, 0.75, 0.85)[j - 1], abs=0.03)  # as the card measured
    for i, value in enumerate(entropy["positions"].tolist(), 1):
        assert value >= 0.99 if i == j else value <= alone + 0.03
    switches = entropy["switches"].tolist()
    assert all(value >= 0.99 for value in switches[j:])
    assert all(value <= alone + 0.03 for value in switches[:j])


def test_a_collapse_planted_in_images_is_found_by_their_classes():
    digits = teacher("digits")
    shared = planted_collapse(digits, TIMES, 2, digits.noise(80, seed=0))
    entropy, classes = shared.measures["entropy"], shared.measures["modes"]["positions"]
    alone = float(entropy["switches"][0])
    assert alone < 0.75
    assert float(entropy["positions"][1]) > 0.9
    assert float(entropy["positions"][[0, 2, 3]].max()) < alone + 0.03
    assert classes.tolist() == [5, 10, 5, 5]
    assert shared.mean is not None


def test_guidance_is_the_bases_and_the_record_keeps_what_was_asked(tmp_path):
    classed, noise = ring(classes=2), normal(40).float()
    wanted = torch.arange(40) % 2
    shared = hand_over(
        classed, classed, noise, times=TIMES, condition=wanted, guidance=3.0, classes=("a", "b"), names=("ring", "same")
    )
    plain = hand_over(classed, classed, noise, times=TIMES, condition=wanted, base_sampler="consistency")
    assert torch.equal(shared.switches[0], plain.switches[0])
    assert not torch.equal(shared.switches[1], plain.switches[1])
    again = open_record(shared.save(tmp_path / "shared.safetensors"))
    assert torch.equal(again.positions, shared.positions)
    assert again.settings == shared.settings
    frame = again.to_frame()
    assert len(frame) == 4 * (5 + 4)
    assert set(frame["by"]) == {"switch", "position"}
    low, value, high = (frame[column] for column in ("low", "value", "high"))
    assert bool(((low <= value) & (value <= high)).all())
    assert "same handed over to by ring" in again.summary()


def test_records_bring_their_own_rule_and_times():
    base = regress(ring(), steps=1, batch=8, progress=False)
    student = base.replace(times=TIMES, sampler="consistency", sampling={"gamma": 0.5})
    noise = normal(6).float()
    shared = hand_over(base, student, noise, seed=2)
    alone = sample(
        denoiser(student), noise, sampler=Renoise(gamma=0.5), steps=TIMES, generator=redraws(2, noise.device)
    )
    assert torch.equal(shared.switches[0], alone)
    assert set(shared.measures) == {"diversity"}  # a network's modes are not known
    same = hand_over(student, student, noise, base_sampler=Renoise(gamma=0.5))
    assert torch.equal(same.switches[-1], same.switches[0])
    with pytest.raises(SamplingError, match="pass them"):
        hand_over(base, base, noise)


def test_a_measure_of_ones_own_and_the_progress():
    told = []
    shared = hand_over(
        ring(), student(), normal(6).float(), times=TIMES, watch=told.append,
        measures={"height": lambda x, _: (float(x[:, 1].max()), math.nan, math.nan)},
    )  # fmt: skip
    assert told == [(i + 1) / 8 for i in range(8)]
    expected = shared.switches[:, :, 1].amax(1).double()
    torch.testing.assert_close(shared.measures["height"]["switches"], expected)


class Broken:
    schedule, shape, classes = RectifiedFlow(), (2,), 0

    def __call__(self, x, t, condition=None):
        x0 = torch.zeros_like(x)
        x0[2] = math.nan if float(t) < 0.2 else 0.0
        return Prediction(x0, x)


def test_bad_input_is_refused():
    noise = normal(4).float()
    with pytest.raises(SamplingError, match=r"wrap one in Rescheduled"):
        hand_over(ring(), ring(schedule=Trig()), noise, times=TIMES)
    moved = Rescheduled(ring(schedule=Trig()), RectifiedFlow())
    assert len(hand_over(ring(), moved, noise, times=TIMES)) == 4
    with pytest.raises(SamplingError, match=r"shape \(2,\), the student of \(3,\)"):
        hand_over(ring(), ring(dimensions=3), noise, times=TIMES)
    with pytest.raises(SamplingError, match="pass them"):
        hand_over(ring(), ring(), noise)
    with pytest.raises(SamplingError, match="each smaller than the one before"):
        hand_over(ring(), ring(), noise, times=[0.5, 0.9, 0.0])
    with pytest.raises(SamplingError, match=r"outside 0\.\.1"):
        hand_over(ring(), ring(), noise, times=[1.2, 0.9, 0.0])
    with pytest.raises(SamplingError, match=r"the model takes \(n, 2\)"):
        hand_over(ring(), ring(), torch.zeros(4, 3), times=TIMES)
    with pytest.raises(ValueError, match="no classes"):
        hand_over(ring(), ring(), noise, times=TIMES, guidance=2.0)
    with pytest.raises(SamplingError, match=r"base_steps holds 5; the student has steps 1\.\.4"):
        hybrid(ring(), ring(), noise, times=TIMES, base_steps=(5,))
    with pytest.raises(SamplingError, match=r"example 2 became NaN or infinite at step 4 of 4 \(time 0.12\)"):
        hybrid(ring(), Broken(), noise, times=TIMES)
    with pytest.raises(ValueError, match="at least 1"):
        hand_over(ring(), ring(), noise, times=TIMES, own_schedule=0)

    class Twice(Renoise):
        def __call__(self, step):
            return step.draw() + step.draw()

    with pytest.raises(SamplingError, match="drew twice at step 1"):
        hybrid(ring(), ring(), noise, times=TIMES, base_steps=(), student_sampler=Twice())


def test_the_planted_student_is_exact_but_for_one_step():
    full, x = ring(dtype=DOUBLE), normal(5)
    planted = Planted(full, torch.arange(4), float(TIMES[1]))
    for t in TIMES[:-1]:
        told = planted(x, t).x0
        exact = planted.half(x, t).x0 if float(t) == float(TIMES[1]) else planted.full(x, t).x0
        assert torch.equal(told, exact)
    assert bool((planted(x, TIMES[1]).x0[:, 1] > -0.5).all())  # the half that it knows is the upper one
