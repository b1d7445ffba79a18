"""Runs made again from the same noise: what changes is what was asked for, and nothing else."""

import pytest
import torch

from workbench.diffusion import Guided, Renoise, Rescheduled, VPCosine, ring, target_trajectories
from workbench.diffusion.trajectories.again import Choice, again, rule_of, samplers, times_of

TIMES = torch.tensor([0.99, 0.25, 0.15, 0.08, 0.0], dtype=torch.float64)


def noise(n=8):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(3))


def pair():
    """A teacher's run, and a student's at times of its own."""
    base = target_trajectories(ring(), noise(), steps=20, name="base", role="teacher")
    return base, target_trajectories(ring(), noise(), steps=TIMES, name="student", role="student")


def test_a_run_made_again_is_the_run_of_the_public_function():
    base, _ = pair()
    found = again(base, ring(), Choice("heun", 9, 1.0))
    own = target_trajectories(ring(), noise(), steps=9, sampler="heun")
    assert torch.equal(found.samples, own.samples)
    assert torch.equal(found.targets, own.targets)
    assert (found.name, found.role, found.sampler, found.calls) == ("base", "teacher", "heun", 18)


def test_as_it_was_given_it_comes_out_as_it_was():
    for run in pair():
        found = again(run, ring(), Choice.given(run, ring()))
        assert torch.equal(found.states, run.states)
        assert torch.equal(found.samples, run.samples)


def test_fresh_noise_for_a_class_is_that_run_of_it():
    model, labels = ring(classes=2), torch.arange(8) % 2
    run = target_trajectories(model, noise(), steps=6, condition=labels, guidance=2.0)
    other = -noise(8)[:1]
    found = again(run, model, Choice.given(run, model), noise=other, condition=torch.tensor([1]))
    own = target_trajectories(model, other, steps=6, condition=torch.tensor([1]), guidance=2.0)
    assert torch.equal(found.samples, own.samples)


def test_guidance_counts_once_whoever_carries_it():
    wrapped, labels = Guided(ring(classes=2), 3.0), torch.arange(8) % 2
    run = target_trajectories(wrapped, noise(), steps=6, condition=labels)
    choice = Choice.given(run, wrapped)
    assert choice.guidance == 3
    assert torch.allclose(again(run, wrapped, choice).samples, run.samples, atol=1e-6)


def test_a_model_of_another_schedule_is_asked_on_the_runs():
    base, _ = pair()
    other = ring(schedule=VPCosine())
    found = again(base, other, Choice("ddim", 20, 1.0))
    own = target_trajectories(Rescheduled(other, ring().schedule), noise(), steps=20)
    assert torch.equal(found.samples, own.samples)


def test_a_student_keeps_its_own_times():
    base, student = pair()
    assert times_of(student).tolist() == TIMES.tolist()
    eight = times_of(student, 8)
    assert torch.allclose(eight[::2], TIMES)
    assert torch.allclose(eight[1], TIMES[:2].mean())
    two = times_of(student, 2)
    assert torch.allclose(two, TIMES[::2])
    assert torch.allclose(times_of(base, 7), ring().schedule.grid(7))


@pytest.mark.parametrize("spacing", ["log_snr", "karras"])
def test_another_number_of_steps_has_the_same_spacing(spacing):
    run = target_trajectories(ring(), noise(3), steps=10, spacing=spacing)
    assert torch.allclose(times_of(run, 6), ring().schedule.grid(6, spacing))


def test_rules_are_made_from_what_a_record_says():
    assert rule_of(repr(Renoise(gamma=0.3))) == Renoise(gamma=0.3)
    assert rule_of("somebody's own") is None
    assert rule_of("Renoise(__import__('os'))") is None
    assert samplers(repr(Renoise(gamma=0.3)))[0] == repr(Renoise(gamma=0.3))
    assert "somebody's own" not in samplers("somebody's own")


def test_a_rule_known_by_name_only_is_refused():
    base, _ = pair()
    with pytest.raises(ValueError, match="'base' was made by somebody's own, which is known by name only"):
        again(base, ring(), Choice("somebody's own", 4, 1.0))
