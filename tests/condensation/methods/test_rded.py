"""Every exact line of paper 011's card, in float64, and what the record of the choices says."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import workbench as wb
from workbench import records
from workbench.condensation import RDED, CondensationError, RandomCrops, condense, train_relabelled
from workbench.condensation.judging.relabelling import Softened, half_cosine, views
from workbench.condensation.making.crops import (
    PaddedCrops,
    RandomResizedCrop,
    ShufflePatches,
    cells,
    cut,
    pad,
    square_windows,
    tile,
    untile,
)
from workbench.condensation.methods.rded import crop_scores, mosaic_plan, ranks
from workbench.models import Outputs
from workbench.training.evaluating import logits_of

seeds = st.integers(0, 2**31 - 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, channels=2, height=9, width=8, seed=0):
    return torch.rand(n, channels, height, width, generator=generator(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def few():
    return wb.data.load("digits").per_class(30).to(dtype=torch.float64)


@pytest.fixture(scope="module")
def teacher(few):
    network = wb.models.build("mlp", few, width=16, seed=3).double()
    wb.training.fit(network, few, epochs=4, lr=0.02, evaluate_every=0, progress=False)
    return network


@given(seeds, st.integers(1, 9), st.integers(1, 8), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_cut_is_torchs_antialiased_resize_of_the_window(seed, tall, wide, height, width):
    x, g = images(4), generator(seed)
    top = torch.randint(9 - tall + 1, (4,), generator=g)
    left = torch.randint(8 - wide + 1, (4,), generator=g)
    windows = torch.stack([top, left, torch.full((4,), tall), torch.full((4,), wide)], 1)
    found = cut(x, windows, (height, width))
    for k in range(4):
        window = x[k : k + 1, :, top[k] : top[k] + tall, left[k] : left[k] + wide]
        if (tall, wide) == (height, width):
            assert torch.equal(found[k : k + 1], window)
        else:
            there = F.interpolate(window, (height, width), mode="bilinear", antialias=True)
            assert torch.allclose(found[k : k + 1], there, atol=1e-12)


@given(seeds, st.floats(0.01, 1), st.integers(2, 20), st.integers(2, 20))
@settings(max_examples=30, deadline=None)
def test_windows_lie_inside_and_have_the_asked_area(seed, least, height, width):
    top, left, side = square_windows(200, (height, width), (least, 1.0), generator(seed)).unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + side <= height).all()
    assert (left + side <= width).all()
    assert (side >= min(math.floor(math.sqrt(least * height * width)), height, width)).all()


def test_with_whole_images_the_easiest_of_each_class_are_taken(few, teacher):
    method = RDED(teacher=teacher, ipc=3, factor=1, crops=1, scale=(1.0, 1.0))
    made = condense(few, method)
    loss = F.cross_entropy(logits_of(teacher, few.train.inputs), few.train.labels, reduction="none")
    for c in range(10):
        rows = (few.train.labels == c).nonzero().flatten()
        easiest = rows[loss[rows].argsort()[:3]]
        assert torch.equal(made.images[made.labels == c], few.train.inputs[easiest])
        assert made.source[made.labels == c].tolist() == few.train.index[easiest].tolist()
        assert torch.allclose(made.choices.score[made.choices.picked[made.labels == c, 0], 0], loss[easiest])


@pytest.mark.parametrize(("factor", "seed"), [(1, 0), (2, 0), (2, 5)])
def test_each_crop_has_its_own_image_and_no_choice_of_one_per_image_is_easier(few, teacher, factor, seed):
    made = condense(few, RDED(teacher=teacher, ipc=2, factor=factor, pool=20, crops=4), seed=seed)
    choices = made.choices
    kept = choices.picked.flatten()
    assert len(kept.unique()) == len(kept) == 10 * 2 * factor**2 == choices.sources
    assert torch.equal(choices.labels[choices.picked], made.labels[:, None].expand(-1, factor**2))
    assert torch.equal(choices.chosen, choices.score.argmin(1))
    needed = 2 * factor**2
    for c in range(10):
        of_class = choices.score[choices.labels == c]
        ours = choices.score.amin(1)[kept][choices.labels[kept] == c]
        g = generator(c)
        for _ in range(50):
            other = of_class.gather(1, torch.randint(4, (20, 1), generator=g))[torch.randperm(20, generator=g)[:needed]]
            assert ours.mean() <= other.mean() + 1e-12
    assert choices.realism == pytest.approx(choices.score.amin(1)[kept].mean().item())


def test_scores_are_the_teachers_loss_on_padded_crops(few, teacher):
    made = condense(few, RDED(teacher=teacher, ipc=1, factor=2, pool=6, crops=3))
    choices = made.choices
    position = {index: row for row, index in enumerate(few.train.index.tolist())}
    for row in (0, 17, 59):
        image = few.train.inputs[position[choices.source[row].item()]]
        for k, (top, left, side) in enumerate(choices.windows[row].tolist()):
            window = image[None, :, top : top + side, left : left + side]
            small = window if side == 4 else F.interpolate(window, (4, 4), mode="bilinear", antialias=True)
            logits = teacher(F.pad(small, (2, 2, 2, 2)))
            assert F.cross_entropy(logits, choices.labels[row][None]).item() == pytest.approx(
                choices.score[row, k].item(), rel=1e-9
            )


def test_mosaics_show_the_crops_that_the_plan_names(few, teacher):
    made = condense(few, RDED(teacher=teacher, ipc=2, factor=2, pool=12, crops=3))
    choices = made.choices
    assert choices.candidates.shape == (20, 4, 3, 1, 4, 4)
    for k, cell in enumerate(untile(made.images, 2)):
        shown = (cell * made.std + made.mean).mul(255).round().clamp(0, 255).to(torch.uint8)
        best = choices.chosen[choices.picked[:, k]]
        assert torch.equal(shown, choices.candidates[torch.arange(20), k, best])


def test_plan_mixes_ranks():
    labels = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1])
    score = torch.tensor([7, 0, 6, 1, 5, 2, 4, 3, 3, 4, 2, 5, 1, 6, 0, 7.0])
    rank = ranks(score, labels)
    assert rank.tolist() == score.long().tolist()
    plan = mosaic_plan(rank, labels, ipc=2, factor=2)
    assert rank[plan].tolist() == [[0, 2, 4, 6], [1, 3, 5, 7]] * 2  # cell k of image j: rank k · ipc + j
    assert labels[plan].tolist() == [[0] * 4] * 2 + [[1] * 4] * 2
    assert ranks(torch.zeros(3), torch.zeros(3, dtype=torch.int64)).tolist() == [0, 1, 2]


@pytest.mark.parametrize("q", [1, 2, 3, 4])
def test_tiling_and_cutting_returns_the_crops_to_the_bit(q):
    crops = images(5 * q * q, 3, 4, 5).unflatten(0, (5, q * q))
    mosaic = tile(crops, (4 * q, 5 * q))
    assert mosaic.shape == (5, 3, 4 * q, 5 * q)
    for k, cell in enumerate(untile(mosaic, q)):
        assert torch.equal(cell, crops[:, k])


def test_what_does_not_divide_makes_the_first_cells_larger():
    assert [piece.stop - piece.start for piece in cells(11, 3)] == [4, 4, 3]
    mosaic = tile(images(8, 1, 4, 4).unflatten(0, (2, 4)), (9, 9))
    assert [tuple(cell.shape[-2:]) for cell in untile(mosaic, 2)] == [(5, 5), (5, 4), (4, 5), (4, 4)]
    with pytest.raises(ValueError, match=r"factor is 5; it must be in 1\.\.4"):
        cells(4, 5)


@given(seeds, st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_shuffling_patches_only_moves_pixels(seed, factor):
    x = images(6)
    shuffled = ShufflePatches(factor)(x, generator(seed))
    assert torch.equal(shuffled.flatten(2).sort(2).values, x.flatten(2).sort(2).values)
    if factor == 1:
        assert torch.equal(shuffled, x)


def test_shuffling_moves_whole_cells():
    crops = images(8, 1, 4, 4).unflatten(0, (2, 4))
    shuffled = ShufflePatches(2)(tile(crops, (8, 8)).repeat(40, 1, 1, 1), generator())
    seen = torch.stack(untile(shuffled, 2), 1).unflatten(0, (40, 2))
    orders = set()
    for image in seen.transpose(0, 1).flatten(0, 1)[:40]:
        orders.add(tuple(next(k for k in range(4) if torch.equal(crops[0, k], cell)) for cell in image))
    assert orders == {(0, 1, 2, 3), (1, 0, 3, 2), (2, 3, 0, 1), (3, 2, 1, 0)}  # columns and rows, not single cells


@given(seeds)
@settings(max_examples=20, deadline=None)
def test_resized_crops_are_windows_of_the_image(seed):
    x = images(50, 1)
    top, left, tall, wide = RandomResizedCrop((0.3, 1.0)).draw(x.shape, generator(seed))[0].unbind(1)
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + tall <= 9).all()
    assert (left + wide <= 8).all()
    assert (tall * wide).double().mean() / 72 > 0.4
    whole = RandomResizedCrop((1.0, 1.0), (8 / 9, 8 / 9))
    assert torch.equal(whole(x, generator(seed)), x)


def test_padded_crops_are_what_rded_scores():
    x = images(200, 1, 8, 8)
    augment = PaddedCrops(2)
    cropped, windows = augment.draw(x.shape, generator())
    seen = augment.apply(x, cropped, windows)
    assert 0.35 < cropped.double().mean() < 0.65
    assert torch.equal(seen[~cropped], x[~cropped])
    assert torch.equal(seen[cropped], pad(cut(x, windows, (4, 4)), (8, 8))[cropped])
    assert (seen[cropped][:, :, :2] == 0).all()


def test_a_student_that_is_the_teacher_has_nothing_to_learn(few, teacher):
    logits = logits_of(teacher, few.train.inputs)
    same = Softened(20.0)(Outputs(logits), Outputs(logits), few.train.labels)
    assert same.abs().max() < 1e-15
    made = condense(few, RDED(teacher=teacher, ipc=2, factor=2))
    student = wb.models.build("mlp", few, width=16, seed=3).double()
    student.load_state_dict(teacher.state_dict())
    record = train_relabelled([student], made, teacher, factor=2, epochs=2, weight_decay=0.0, progress=False)[0]
    assert record.curves["train_loss"].abs().max() < 1e-12
    assert all(torch.allclose(record.state[key], value) for key, value in teacher.state_dict().items())


def test_the_loss_is_the_mean_over_examples_without_the_squared_temperature():
    g, T = generator(), 20.0
    s, t = torch.randn(2, 5, 4, generator=g, dtype=torch.float64).unbind()
    expected = F.kl_div((s / T).log_softmax(1), (t / T).softmax(1), reduction="batchmean")
    assert Softened(T)(Outputs(s), Outputs(t), torch.zeros(5)).mean() == pytest.approx(expected.item(), rel=1e-9)
    with pytest.raises(ValueError, match="temperature is 0"):
        Softened(0)


def test_the_rate_ends_at_half_and_norms_do_not_decay(few, teacher):
    assert half_cosine(0.5) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    made = condense(few, RandomCrops(ipc=2, factor=1))
    students = [wb.models.build("mlp", few, width=8, seed=seed).double() for seed in range(2)]
    for student in students:
        for layer in student.modules():
            if isinstance(layer, torch.nn.Linear):
                torch.nn.init.ones_(layer.bias)
    train_relabelled(
        students, made, students[0], epochs=1, batch_size=20, lr=1e-30, weight_decay=1e29, flip=False, progress=False
    )
    before = wb.models.build("mlp", few, width=8, seed=1).double().state_dict()
    for name, value in students[1].state_dict().items():
        expected = torch.ones_like(value) if name.endswith("bias") else 0.9 * before[name]  # 1 − lr · weight_decay
        assert torch.allclose(value, expected)


def test_hard_labels_see_no_mixed_pictures(few):
    assert "CutMix" in repr(views(2))
    assert "CutMix" not in repr(views(2, mix=False))
    assert "Flip" not in repr(views(2, flip=False))
    made = condense(few, RandomCrops(ipc=2, factor=2))
    student = wb.models.build("mlp", few, width=8).double()
    record = train_relabelled([student], made, None, test=few.test, factor=2, epochs=3, progress=False)[0]
    assert 0 <= record.accuracy <= 1
    with pytest.raises(ValueError, match="distilled has 2 sets for 1 students"):
        train_relabelled([student], [made, made], None)


def test_choices_survive_a_file_and_a_selection(few, teacher, tmp_path):
    made = condense(few, RDED(teacher=teacher, ipc=2, factor=2, pool=12, crops=3))
    again = records.open(made.save(tmp_path / "rded.safetensors"))
    assert again.choices.summary() == made.choices.summary()
    frame = again.choices.to_frame()
    assert len(frame) == 10 * 12 * 3
    assert frame["kept"].sum() == 80
    assert frame["chosen"].sum() == 120
    assert (frame.loc[frame["kept"], "rank"] < 8).all()
    assert torch.equal(made.take([3, 5]).choices.picked, made.choices.picked[[3, 5]])
    assert condense(few, RDED(teacher=teacher, ipc=2, pool=12, crops=3)).images.equal(made.images)
    assert not condense(few, RDED(teacher=teacher, ipc=2, pool=12, crops=3), seed=1).images.equal(made.images)


def test_scores_do_not_depend_on_the_batch(few, teacher):
    windows = square_windows(300 * 2, (8, 8), (0.08, 1.0), generator()).view(300, 2, 3)
    whole, parts = (crop_scores(teacher, few.train, windows, (4, 4), batch_size=b) for b in (10_000, 7))
    assert torch.allclose(whole, parts, rtol=1e-12)


def test_a_class_too_small_for_its_mosaics_is_named(few, teacher):
    with pytest.raises(CondensationError, match=r"ipc · factor² = 40 crops .* class '0' has 30 images"):
        condense(few, RDED(teacher=teacher, ipc=10, factor=2))
    with pytest.raises(CondensationError, match="class '0' gives a pool of 5"):
        condense(few, RDED(teacher=teacher, ipc=2, factor=2, pool=5))
