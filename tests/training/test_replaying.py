"""A replayed step does what it did: on a GPU its graph, here a recorder that repeats it on the recorded tensors."""

import pytest
import torch

from workbench.knowledge import KL
from workbench.models import Outputs
from workbench.signals.signal import Bound
from workbench.training import Ensemble, Guide, TrainingError, ensemble, fit, grouping
from workbench.training.replaying import WARM, Replayed

SEEDS = (3, 4, 8)


class Repeats:
    """Records as a graph does: from then on only what lies in the recorded tensors counts, and results appear there."""

    def __init__(self):
        self.recorded = self.replayed = 0

    def aside(self, run):
        return run()

    def record(self, run):
        self.recorded += 1
        out = {}

        def replay():
            self.replayed += 1
            for name, value in run().items():
                out.setdefault(name, torch.empty_like(value)).copy_(value)

        return replay, out


@pytest.fixture
def repeats(monkeypatch):
    recorder = Repeats()
    monkeypatch.setattr(ensemble, "recording", lambda models, loss, example, device: recorder)
    monkeypatch.setattr(ensemble, "group_count", lambda *_: 1)
    return recorder


@pytest.mark.parametrize("lr", [0.01, (0.02, 0.01, 0.003)], ids=["one rate", "a rate each"])
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["mlp", "batchnorm"])
def test_replayed_training_equals_one_by_one(tiny, make, close, repeats, name, optimizer, lr):
    options = {"epochs": 3, "batch_size": 8, "optimizer": optimizer, "augment": "shift", "progress": False}
    got = Ensemble([make(name, seed) for seed in SEEDS]).fit(tiny, lr=lr, seeds=SEEDS, **options)
    assert (repeats.recorded, repeats.replayed) == (1, 12)  # of 15 full batches; the 3 last ones of a pass are few
    rates = (lr,) * 3 if isinstance(lr, float) else lr
    for mine, seed, rate in zip(got, SEEDS, rates, strict=True):
        close(mine, fit(make(name, seed), tiny, seed=seed, lr=rate, **options))
        groups = mine.checkpoint["optimizer"]["param_groups"]
        assert all(isinstance(group["lr"], float) and not group.get("capturable") for group in groups)


def test_replayed_training_is_told_by_its_guide_and_resumes(tiny, make, close, repeats):
    teacher, options = make("vit", 1), {"batch_size": 8, "schedule": "constant", "progress": False}

    def loss(outputs, guide, labels):
        return (outputs.logits - guide.logits).square().mean(1)

    told = {"loss": loss, "guide": Guide(teacher), **options}
    half = Ensemble([make("mlp", seed) for seed in SEEDS]).fit(tiny, 2, seeds=SEEDS, **told)
    assert repeats.replayed
    again = Ensemble([make("mlp", seed) for seed in SEEDS]).fit(tiny, 4, seeds=SEEDS, resume=half, **told)
    for mine, seed in zip(again, SEEDS, strict=True):
        close(mine, fit(make("mlp", seed), tiny, 4, seed=seed, **told))


def test_a_diverging_member_is_still_found(tiny, make, repeats):
    with pytest.raises(TrainingError, match="loss of member"):
        Ensemble([make("mlp", seed) for seed in SEEDS]).fit(
            tiny, 5, lr=1e30, optimizer="sgd", batch_size=8, seeds=SEEDS, progress=False
        )


def scaled(factor):
    def step(inputs, labels, guide):
        told = inputs if guide is None else guide.logits + guide.features["a"]
        return {"out": told.sum() * factor[0] + labels.sum()}

    return step


def test_shapes_are_recorded_apart_after_a_few_calls():
    recorder = Repeats()
    replayed = Replayed(scaled([1.0]), recorder)
    labels = torch.ones(2)
    for call in range(WARM + 3):
        for size in (2, 3):
            inputs = torch.full((size,), float(call))
            assert replayed(inputs, labels, None)["out"] == size * call + 2
            guide = Outputs(inputs, {"a": inputs})
            assert replayed(inputs, labels, guide)["out"] == 2 * size * call + 2
    assert (recorder.recorded, recorder.replayed) == (4, 12)
    kept = replayed(torch.ones(2), labels, None)["out"]
    replayed(torch.zeros(2), labels, None)
    assert kept == 4  # results are the caller's, not the graph's
    replayed.forget()
    replayed(torch.ones(2), labels, None)
    assert recorder.recorded == 4


def test_what_cannot_be_recorded_runs_as_it_is_with_one_line_in_the_log(caplog):
    class Refuses(Repeats):
        def record(self, run):
            raise RuntimeError("operation not permitted when stream is capturing\nlong story")

    replayed = Replayed(scaled([2.0]), Refuses())
    for call in range(WARM + 4):
        for size in (1, 2):
            assert replayed(torch.full((size,), float(call)), torch.zeros(1), None)["out"] == 2 * size * call
    told = [record.message for record in caplog.records]
    assert told == ["training steps are not replayed as CUDA graphs: operation not permitted when stream is capturing"]


def test_only_what_is_the_same_every_time_is_recorded(make, tiny):
    model, example = make("mlp", 0), tiny.train.inputs[0]
    assert grouping.recording([model], None, example, torch.device("cpu")) is None
    dropping = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(example.numel(), 2).double(), torch.nn.Dropout())
    gpu = torch.device("cuda")
    assert grouping.recording([dropping], None, example, gpu) is None
    assert grouping.recording([model], lambda outputs, guide, labels: None, example, gpu) is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouping, "CudaGraphs", lambda device: device)
        assert grouping.recording([model], None, example, gpu) == gpu
        assert grouping.recording([model], Bound(KL()), example, gpu) == gpu
        assert grouping.recording([model], KL(), example, gpu) == gpu


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("name", ["mlp", "convnet", "batchnorm"])
def test_a_graph_trains_as_the_same_steps_sent_one_by_one(tiny, make, monkeypatch, name, optimizer):
    options = {"epochs": 4, "batch_size": 8, "optimizer": optimizer, "seeds": SEEDS, "device": "cuda"}
    options |= {"lr": 0.01, "progress": False}
    nets = [[make(name, seed).float() for seed in SEEDS] for _ in range(2)]
    replayed = Ensemble(nets[0]).fit(tiny, **options)
    monkeypatch.setattr(ensemble, "recording", lambda *_: None)
    for mine, other in zip(replayed, Ensemble(nets[1]).fit(tiny, **options), strict=True):
        for key, value in other.state.items():
            torch.testing.assert_close(mine.state[key], value, rtol=1e-4, atol=1e-5)
