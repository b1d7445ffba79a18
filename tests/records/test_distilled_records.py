"""Records of evaluations, looks and attributions refuse what does not fit and read well."""

import pytest
import torch

from workbench import records
from workbench.records import Attribution, Calibration, DistilledEvaluation, DistilledLooks
from workbench.records.evaluation import t_interval


def calibration():
    return Calibration(
        confidence=torch.tensor([0.5]),
        accuracy=torch.tensor([0.5]),
        count=torch.tensor([4]),
        ece=0.0,
        nll=0.7,
        brier=0.5,
    )


def evaluation(**changes):
    given = {
        "name": "few",
        "networks": ("mlp", "convnet"),
        "seeds": (0, 1, 2),
        "classes": ("a", "<b>"),
        "accuracy": torch.tensor([[0.5, 0.6, 0.7], [0.8, 0.8, 0.8]], dtype=torch.float64),
        "random_accuracy": torch.full((2, 3), 0.4, dtype=torch.float64),
        "per_class": torch.full((2, 3, 2), 0.6, dtype=torch.float64),
        "confusion": torch.ones(2, 2, 2, dtype=torch.int64),
        "calibration": (calibration(), calibration()),
        "ece": torch.zeros(2, 3, dtype=torch.float64),
        "curves": {"distilled": torch.zeros(2, 3, 4)},
        "confidence": {"distilled": torch.zeros(2, 3, 4)},
        "curve_steps": {"distilled": (1, 2, 3, 4)},
        "images": 2,
    }
    return DistilledEvaluation(**given | changes)


def looks(**changes):
    rows = torch.tensor([[0, 1], [1, 2]])
    given = {
        "network": "mlp",
        "classes": ("a", "b"),
        "loss": torch.tensor([0.1, 0.2]),
        "gradient_norm": torch.ones(2),
        "probabilities": torch.full((2, 2), 0.5),
        "real": torch.zeros(3, 1, 2, 2, dtype=torch.uint8),
        "real_labels": torch.zeros(3, dtype=torch.int64),
        "real_index": torch.arange(3),
        "real_is_test": torch.zeros(3, dtype=torch.bool),
        "nearest_pixels": rows,
        "nearest_pixels_distance": torch.ones(2, 2),
        "nearest_features": rows,
        "nearest_features_distance": torch.ones(2, 2),
    }
    return DistilledLooks(**given | changes)


def test_they_survive_a_file(tmp_path):
    values = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    pinned = Attribution(method="saliency", target=torch.tensor([0, 1]), values=values, rows=torch.tensor([1, 0]))
    for record in (evaluation(), looks(attributions={"saliency": pinned}), pinned):
        back = records.open(record.save(tmp_path / "r.safetensors"))
        assert back.summary() == record.summary()
        assert back.to_frame().equals(record.to_frame())
    torch.testing.assert_close(pinned.heat, values[:, 0])


def test_evaluation_reads_well():
    found = evaluation()
    assert found.mean(0) == pytest.approx(0.6)
    low, high = found.interval(0)
    assert high - 0.6 == pytest.approx(0.6 - low) == pytest.approx(4.302652729911275 * 0.1 / 3**0.5)
    assert found.interval(1) == pytest.approx((0.8, 0.8))
    assert t_interval(torch.tensor([0.5])) == (-torch.inf, torch.inf)
    assert found.summary().startswith("few: 2 images, 3 seeds. mlp 60.0% ± 24.8%; random real 40.0% ± 0.0%. convnet")
    assert list(found.to_frame()["trained on"].value_counts()) == [6, 6]
    assert "accuracy[<b>]" in found.to_frame()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"accuracy": torch.zeros(2, 2)}, r"accuracy has shape \(2, 2\)"),
        ({"random_accuracy": torch.zeros(3)}, "random_accuracy"),
        ({"per_class": torch.zeros(2, 3, 5)}, "per_class"),
        ({"confusion": torch.zeros(2, 3, 3)}, "confusion"),
        ({"calibration": (calibration(),)}, "calibration has 1"),
        ({"curve_steps": {"distilled": (1, 2)}}, r"curves\['distilled'\]"),
        ({"agreement": {"early-stopped": torch.zeros(2)}}, "agreement"),
    ],
)
def test_an_evaluation_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        evaluation(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradient_norm": torch.ones(3)}, "gradient_norm has 3 rows"),
        ({"real_labels": torch.zeros(2, dtype=torch.int64)}, "real_labels has 2 rows"),
        ({"nearest_pixels": torch.tensor([[0, 1], [1, 3]])}, "names row 3 of 3"),
        ({"influence_rows": torch.tensor([[-1], [0]])}, "influence_rows"),
    ],
)
def test_looks_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        looks(**changes)


def test_an_attribution_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="values have shape"):
        Attribution(method="saliency", target=torch.zeros(2), values=torch.zeros(2, 4), rows=torch.zeros(2))
    with pytest.raises(ValueError, match="delta has shape"):
        Attribution(method="integrated_gradients", target=torch.zeros(2), values=torch.zeros(2, 1, 2, 2),
                    delta=torch.zeros(3), rows=torch.zeros(2))  # fmt: skip
