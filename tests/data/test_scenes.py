"""Digit scenes and mirrored data: what is drawn at random, and what must not change."""

import pytest
import torch

from workbench.data import DataError, digit_scenes, load, mirrored


def test_a_scene_without_strokes_and_noise_is_its_digit_somewhere():
    digits, scenes = load("digits", seed=3), load("digit-scenes", seed=3, strokes=0, noise=0.0)
    assert scenes.shape == (1, 16, 16)
    for whole, found in ((digits.train, scenes.train), (digits.test, scenes.test)):
        assert torch.equal(whole.index, found.index)
        assert torch.equal(whole.labels, found.labels)
        windows = found.images().unfold(2, 8, 1).unfold(3, 8, 1)
        matches = (windows == whole.images()[:, :, None, None]).all((-1, -2)).flatten(1)
        assert matches.any(1).all()
        assert torch.equal(found.images().sum((1, 2, 3)), whole.images().sum((1, 2, 3)))  # nothing else is drawn
        places = matches.double().argmax(1).unique()
        assert len(places) > 70  # of 81


def test_strokes_keep_out_of_the_digits_box():
    bare, full = (load("digit-scenes", strokes=strokes, noise=0.0).train.images() for strokes in (0, 3))
    digits = load("digits").train.images()
    covered = (bare.unfold(2, 8, 1).unfold(3, 8, 1) == digits[:, :, None, None]).all((-1, -2))
    kept = (full.unfold(2, 8, 1).unfold(3, 8, 1) == digits[:, :, None, None]).all((-1, -2))
    assert (covered & kept).flatten(1).any(1).all()
    assert (full >= bare).all()
    assert (full > bare).any((1, 2, 3)).double().mean() > 0.99


def test_the_seed_decides_everything():
    assert torch.equal(digit_scenes(seed=1).test.inputs, digit_scenes(seed=1).test.inputs)
    assert not torch.equal(digit_scenes(seed=1).test.inputs, digit_scenes(seed=2).test.inputs)
    assert digit_scenes(side=24).shape == (1, 24, 24)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"side": 7}, "side=7 must be at least 8"), ({"strokes": -1}, "strokes=-1"), ({"noise": -0.5}, "noise=-0.5")],
)
def test_impossible_scenes_are_refused(options, message):
    with pytest.raises(DataError, match=message):
        load("digit-scenes", **options)


def test_mirrored_data_hold_each_image_or_its_mirror_image():
    data = load("digits")
    turned = mirrored(data, seed=4)
    for before, after in ((data.train, turned.train), (data.test, turned.test)):
        flipped = (after.inputs == before.inputs.flip(-1)).all((1, 2, 3))
        assert (flipped | (after.inputs == before.inputs).all((1, 2, 3))).all()
        assert abs(flipped.double().mean() - 0.5) < 0.06
        assert torch.equal(after.labels, before.labels)
        assert torch.equal(after.index, before.index)
    assert torch.equal(mirrored(data, seed=4).train.inputs, turned.train.inputs)
    assert torch.equal(mirrored(data, chance=0.0).test.inputs, data.test.inputs)
    assert torch.equal(mirrored(data, chance=1.0).test.inputs, data.test.inputs.flip(-1))


def test_only_images_are_mirrored():
    with pytest.raises(DataError, match="only images have a left and a right"):
        mirrored(load("iris"))
    with pytest.raises(DataError, match=r"chance=1\.5"):
        mirrored(load("digits"), chance=1.5)
