"""A distilled set refuses what makes no sense, goes back in time, and comes back from its file as it was."""

import pytest
import torch
from torch import Tensor

from workbench import records
from workbench.records import DistilledSet


def a_set(**changes) -> DistilledSet:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(4, 1, 3, 3, generator=generator)
    snapshots = torch.randn(3, 4, 1, 3, 3, generator=generator).half()
    snapshots[-1] = images.half()
    given = {
        "method": "DM",
        "images": images,
        "labels": torch.tensor([0, 0, 1, 1]),
        "classes": ("a", "b"),
        "mean": torch.full((1, 1, 1), 0.5),
        "std": torch.full((1, 1, 1), 0.25),
        "loss": torch.arange(10.0),
        "curves": {"drift": torch.arange(10.0) ** 2},
        "snapshots": snapshots,
        "snapshot_iterations": (0, 5, 10),
        "snapshot_accuracy": torch.tensor([0.1, float("nan"), 0.9]),
        "source": torch.tensor([3, 1, 4, -1]),
        "checkpoint": {"iteration": 10},
    }
    return DistilledSet(**{**given, **changes})


SOFT = torch.tensor([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.0, 1.0]])


def test_comes_back_from_its_file(tmp_path):
    made = a_set(name="few", view={"tiles": 2}, step_size=torch.tensor(0.1), start={"w": torch.ones(2)})
    back = records.open(made.save(tmp_path / "few.safetensors"))
    assert isinstance(back, DistilledSet)
    for name in ("images", "labels", "snapshots", "loss", "source", "step_size"):
        assert torch.equal(getattr(back, name), getattr(made, name)), name
    assert back.snapshot_iterations == (0, 5, 10)
    assert (back.name, back.view, back.classes) == ("few", {"tiles": 2}, ("a", "b"))
    assert torch.equal(back.start["w"], made.start["w"])
    assert back.checkpoint == {"iteration": 10}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"images": torch.zeros(0, 1, 3, 3)}, "at least one image is needed"),
        ({"images": torch.zeros(4, 3, 3)}, "at least one image is needed"),
        ({"labels": torch.tensor([0, 1, 1])}, r"labels have shape \(3,\); 4 images of 2 classes need"),
        ({"labels": torch.tensor([0, 0, 1, 2])}, r"whole numbers in 0\.\.1; row 3 has label 2"),
        ({"labels": torch.tensor([0, -1, 1, 1])}, r"whole numbers in 0\.\.1; row 1 has label -1"),
        ({"labels": torch.tensor([0.0, 0, 1, 1])}, "they are floats"),
        ({"labels": SOFT * 1.5}, "row 0 sums to 1.5"),
        ({"labels": SOFT.index_fill(0, torch.tensor([2]), torch.nan)}, "row 2 sums to nan"),
        ({"labels": SOFT - torch.tensor([[0.0, 0], [0, 0], [0, 0], [0.1, -0.1]])}, "its least is -0.1"),
        ({"labels": torch.randn(4, 2).log_softmax(1)}, "pass logits through softmax first"),
    ],
)
def test_refuses(changes: dict[str, Tensor], says: str):
    with pytest.raises(ValueError, match=says):
        a_set(**changes)


def test_counts():
    made = a_set()
    assert len(made) == 4
    assert (made.ipc, made.iterations, made.soft) == (2, 10, False)
    assert made.nbytes == 4 * 9 * 4 + 4 * 8
    assert made.summary().startswith("DM: 4 images 1×3×3 of 2 classes, hard labels, 0 KiB, 10 iterations")
    soft = a_set(labels=SOFT, interrupted=True)
    assert soft.soft
    assert soft.hard_labels.tolist() == [0, 0, 1, 1]
    assert "soft labels" in soft.summary()
    assert "interrupted" in soft.summary()


def test_pictures_are_raw_values_in_bytes():
    made = a_set(images=torch.tensor([-3.0, -2.0, 0.0, 2.0]).view(4, 1, 1, 1).expand(4, 1, 3, 3))
    assert made.pictures()[:, 0, 0, 0].tolist() == [0, 0, 128, 255]
    assert made.pictures(made.snapshots).shape == (3, 4, 1, 3, 3)


def test_as_it_was():
    made = a_set(labels=SOFT, snapshot_labels=torch.stack([SOFT.flip(0), SOFT.flip(0), SOFT]).half())
    early, late = made.at(5), made.at(10)
    assert torch.equal(early.images, made.snapshots[1].float())
    torch.testing.assert_close(early.labels, SOFT.flip(0), atol=1e-3, rtol=0)
    torch.testing.assert_close(early.labels.sum(1), torch.ones(4))
    assert early.loss.tolist() == [0, 1, 2, 3, 4]
    assert early.curves["drift"].tolist() == [0, 1, 4, 9, 16]
    assert early.snapshot_iterations == (0, 5)
    assert len(early.snapshots) == len(early.snapshot_accuracy) == 2
    assert early.checkpoint == {}
    assert torch.equal(late.images, made.images)  # the last in full precision
    with pytest.raises(ValueError, match="no snapshot was kept at iteration 7; there are 0, 5, 10"):
        made.at(7)


def test_parts():
    made = a_set()
    some = made.take([2, 0])
    assert torch.equal(some.images, made.images[[2, 0]])
    assert torch.equal(some.snapshots, made.snapshots[:, [2, 0]])
    assert some.labels.tolist() == [1, 0]
    assert some.source.tolist() == [4, 3]
    assert some.checkpoint == {}
    assert torch.equal(made.take(torch.tensor([True, False, False, True])).source, torch.tensor([3, -1]))
    assert made.without([1]).source.tolist() == [3, 4, -1]
    with pytest.raises(ValueError, match="at least one image"):
        made.without([0, 1, 2, 3])


def test_table():
    frame = a_set(labels=SOFT).to_frame()
    assert list(frame.columns) == ["image", "class", "least", "greatest", "source", "label[a]", "label[b]"]
    assert frame["class"].tolist() == ["a", "a", "b", "b"]
    made = a_set()
    raw = made.images * 0.25 + 0.5
    assert frame["least"].tolist() == pytest.approx(raw.flatten(1).amin(1).tolist())
    assert frame["label[b]"].tolist() == pytest.approx([0.1, 0.4, 0.8, 1.0])
