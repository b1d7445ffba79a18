"""One small record of every type, all of whose optional parts are there."""

import torch

from workbench import records


def every_record():
    """The records, none of them trained."""
    draw = torch.Generator().manual_seed(0)

    def rand(*shape, dtype=torch.float32):
        return torch.rand(*shape, generator=draw, dtype=dtype)

    def whole(end, *shape):
        return torch.randint(0, end, shape, generator=draw)

    def byte(*shape):
        return whole(256, *shape).to(torch.uint8)

    double = torch.float64
    calibration = records.Calibration(
        confidence=rand(3), accuracy=rand(3), count=whole(9, 3), ece=0.1, nll=0.2, brier=0.3
    )
    crops = records.CropChoices(
        source=whole(50, 6), labels=whole(2, 6), windows=whole(4, 6, 3, 3), score=rand(6, 3), chosen=whole(3, 6),
        rank=whole(3, 6), picked=whole(6, 4, 4), candidates=byte(4, 4, 3, 1, 2, 2),
    )  # fmt: skip
    attribution = records.Attribution(
        method="saliency", target=whole(2, 4), values=rand(4, 1, 3, 3), delta=rand(4), rows=torch.arange(4)
    )
    views = records.LayerViews(
        projections=rand(2, 3, 5, 2), explained=rand(2, 3, 2), grams=byte(2, 3, 4, 4).to(torch.int8),
        gram_examples=torch.arange(4),
    )  # fmt: skip
    examples = records.Examples(labels=whole(2, 5), images=byte(5, 1, 3, 3), index=torch.arange(5))
    similar = records.SimilarityMap(
        values=rand(2, 3, 2), layers_a=("a", "b", "c"), layers_b=("d", "e"), measure="cka", n=5,
        intervals=rand(2, 3, 2, 2), per_class=rand(2, 2, 3, 2), classes=("x", "y"), epochs=(0, 4), views_a=views,
        masked={"0,1,1": "constant"}, examples=examples,
    )  # fmt: skip
    training = records.TrainingRecord(
        curves={"train_loss": rand(3), "test_accuracy": rand(3)}, classes=("x", "y"), per_class_accuracy=rand(3, 2),
        calibration=calibration, state={"w": rand(2, 2)}, spec={"name": "mlp"}, snapshots={"w": rand(2, 2, 2)},
        snapshot_epochs=(0, 3), settings={"epochs": 3},
    )  # fmt: skip
    distilled = records.DistilledSet(
        method="DM", images=rand(4, 1, 3, 3), labels=torch.eye(2)[whole(2, 4)], classes=("x", "y"),
        mean=rand(1, 1, 1), std=rand(1, 1, 1), step_size=rand(2), step_images=whole(2, 2, 4) > 0, loss=rand(5),
        curves={"gap": rand(5)}, snapshots=rand(2, 4, 1, 3, 3).half(), snapshot_iterations=(0, 5),
        snapshot_labels=rand(2, 4, 2).half(), snapshot_accuracy=rand(2), source=whole(9, 4), choices=crops,
        view={"tiles": 2},
    )  # fmt: skip
    evaluation = records.DistilledEvaluation(
        networks=("mlp", "convnet"), seeds=(0, 1, 2), classes=("x", "y"), accuracy=rand(2, 3, dtype=double),
        full_accuracy=rand(2, 3), random_accuracy=rand(2, 3), per_class=rand(2, 3, 2), confusion=whole(9, 2, 2, 2),
        calibration=(calibration, calibration), ece=rand(2, 3), curves={"distilled": rand(2, 3, 4)},
        confidence={"distilled": rand(2, 3, 4)}, curve_steps={"distilled": (1, 2, 3, 4)},
        agreement={"early-stopped": rand(2, 3)}, settings={"own_start": ("mlp",)},
    )  # fmt: skip
    looks = records.DistilledLooks(
        network="mlp", classes=("x", "y"), loss=rand(4), gradient_norm=rand(4), probabilities=rand(4, 2),
        real=byte(5, 1, 3, 3), real_labels=whole(2, 5), real_index=whole(9, 5), real_is_test=whole(2, 5) > 0,
        nearest_pixels=whole(5, 4, 2), nearest_pixels_distance=rand(4, 2), nearest_features=whole(5, 4, 2),
        nearest_features_distance=rand(4, 2), influence=rand(4, 2), influence_rows=whole(5, 4, 2),
        influence_values=rand(4, 2), attributions={"saliency": attribution},
    )  # fmt: skip
    hand_over = records.HandOver(
        times=torch.tensor([1.0, 0.5, 0.0]), noise=rand(3, 2), condition=whole(2, 3), classes=("x", "y"),
        switches=rand(3, 3, 2), positions=rand(2, 3, 2),
        measures={"error": {"switches": rand(3, dtype=double), "positions": rand(2, dtype=double)}},
        intervals={"error": {"switches": rand(3, 2), "positions": rand(2, 2)}},
        base_calls=torch.arange(3), student_calls=torch.arange(3), position_base_calls=torch.arange(2),
        position_student_calls=torch.arange(2),
    )  # fmt: skip
    targets = records.TargetTrajectories(
        times=torch.tensor([1.0, 0.5], dtype=double), states=rand(2, 3, 2), targets=rand(2, 3, 2), samples=rand(3, 2),
        noise=rand(3, 2), condition=whole(2, 3), classes=("x", "y"), schedule={"name": "VPCosine"},
    )  # fmt: skip
    posterior = records.PosteriorPath(
        task="regression", approach="data", inputs=rand(4, 2, dtype=double), mean=rand(3, 4, 1, dtype=double),
        variance=rand(3, 4, 1, dtype=double), targets=rand(3, 5, 1), fitted=rand(3, 5, 1), mixing=rand(3),
        noise=rand(3), log_marginal_likelihood=rand(3), train_inputs=rand(6, 2), train_targets=rand(6, 1),
        groups=whole(5, 6), test_targets=rand(4, 1), filters=rand(3, 5), effective_noise=rand(3, 5),
        limit_mean=rand(4, 1), limit_variance=rand(4, 1), limit_filter=rand(5), eigenvalues=rand(5),
        coefficients=rand(5, 1), projections=rand(4, 5), directions=rand(5, 5),
        evidence_terms={"rows": 6.0, "weight": 6.0, "spread": 0.1, "outside": 0.0, "missing": 0.0},

        prior_variance=rand(4), offset=rand(1), scale=rand(1), feature_names=("a", "b"), target_names=("y",),
    )  # fmt: skip
    classes = posterior.replace(
        task="classification", classes=("x", "y"), probabilities=rand(3, 4, 2), test_targets=whole(2, 4, 1),
        target_names=(), noise=None, filters=None,
    )  # fmt: skip
    scaling = records.TemperatureScaling(
        names=("raw", "TS"), ratios=(float("nan"), 0.0), temperature=rand(2, 3),
        bound=(("", "", ""), ("lower", "", "")),
        ece=rand(2, 3), nll=rand(2, 3), accuracy=rand(3), reliability=(calibration, calibration), temperatures=rand(4),
        nll_curve=rand(2, 4), max_logit={"test": rand(3, 7)},
    )  # fmt: skip
    solver = records.DistilledSolver(
        times=torch.tensor([1.0, 0.5, 0.0], dtype=double), weights=rand(2, 2, dtype=double),
        gains=rand(2, 2, dtype=double), moments=rand(2, 2, 3, dtype=double),
    )  # fmt: skip
    model = records.DiffusionModel(
        method="TDD", network={"name": "denoiser"}, state={"w": rand(2)}, schedule={"name": "cosine"}, shape=(1, 4, 4),
        classes=("x",), times=torch.tensor([1.0, 0.5, 0.0]), mean=rand(1, 1, 1), std=rand(1, 1, 1),
        curves={"loss": rand(3)},
    )  # fmt: skip
    probes = records.LayerProbes(
        name="net", layers=("a", "b"), accuracy=rand(2), intervals=rand(2, 2), train_accuracy=rand(2), penalty=rand(2),
        chance=0.5, n_train=9, n_test=5, masked={"b": "constant"},
    )  # fmt: skip
    dominant = records.DominantExamples(
        layers_a=("a", "b"), layers_b=("c",), values=rand(2, 1), influence=rand(2, 1, 5), removed=rand(2, 1, 3), n=5
    )
    fidelity = records.Fidelity(
        agreement=0.9, agreement_interval=(0.8, 0.95), kl=0.1, kl_interval=(0.0, 0.2), agreement_when_wrong=0.3,
        teacher_accuracy=0.9, student_accuracy=0.8, n=100,
    )  # fmt: skip
    adapter = records.Adapter(
        down={"a": rand(1, 3)}, up={"a": rand(2, 1)}, rank=1, curves={"loss": rand(4)}, settings={"steps": 4}
    )
    claim = records.Claim(
        statement="a > b", left=1.0, relation=">", right=0.5, interval=(0.2, 1.5), seeds=3, asserted=True
    )
    study = records.StudyResult(
        paper=19, title="does it hold?", table=({"seed": 1, "accuracy": 0.5}, {"seed": 2, "accuracy": 0.6}),
        claims=(claim,), records={"map": similar}, settings={"seeds": (1, 2)},
    )  # fmt: skip
    checkpoint = records.Checkpoint(
        what="fit", done=1, total=3, settings={"epochs": 3}, state={"w": rand(2), "record": similar}
    )
    return [
        checkpoint, calibration, crops, attribution, views, examples, similar, training, distilled, evaluation,
        looks, hand_over, targets, posterior, classes, scaling, solver, model, probes, dominant, fidelity,
        adapter, claim, study,
    ]  # fmt: skip
