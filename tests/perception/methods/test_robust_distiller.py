"""The exact invariants of paper 110 (RobustDistiller) in float64; then what the student and its teacher hear."""

import hashlib
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

import workbench as wb
from workbench.models import observe
from workbench.perception import Contamination, DistilHuBERT, Enhancement, RobustDistiller, distill, probe, student_of
from workbench.perception.making import enhancing
from workbench.perception.methods.distilhubert import Heads, layer_loss

FRONT = {"width": 16, "kernels": [20, 8], "strides": [10, 8]}
ASKED = Enhancement(cell="gru", layers=1, hidden=8, n_fft=128, window=120, hop=40)
NONE = replace(ASKED, weight=0)
NOISE = Contamination(rate=8000)


def g(seed=0):
    return torch.Generator().manual_seed(seed)


def method(**options):
    return RobustDistiller((2, 3), hop=80, **{"enhancement": ASKED, "contamination": NOISE} | options)


@pytest.fixture(scope="module")
def data():
    return wb.data.load("words", n_train=40, n_test=12, words=4, seconds=0.3)


@pytest.fixture
def teacher(data):
    return wb.models.build("speech", data, depth=3, seed=5, **FRONT).eval()


def outputs(network, waves, layers):
    return observe(network, layers)(waves)


def bound(signal, student, teacher, x, heard=None):
    """The signal's module in float64, and its loss on (x̃, x)."""
    s = outputs(student, x if heard is None else heard, signal.student_layers)
    t = outputs(teacher, x, signal.teacher_layers)
    module = signal.bind(s, t, torch.zeros(len(x)), generator=g(1)).double()
    return module, module(s, t, torch.zeros(len(x)))


@pytest.fixture
def sounds(data):
    return data.train.inputs[:6].double()


@pytest.fixture
def pair(teacher):
    return student_of(teacher, 1).double().eval(), teacher.double()


def hidden(seed, n=3, layers=2, frames=5, width=7):
    return torch.randn(n, layers, frames, width, generator=g(seed), dtype=torch.float64)


ALL = torch.ones(3, 5, dtype=torch.bool)


def test_exact_heads_leave_the_offset_of_the_cosine_term():
    """1/D ‖·‖₁ is 0 and −log σ(1) is its minimum."""
    h = hidden(0)
    assert float(layer_loss(h, h, ALL, 1.0)) == pytest.approx(-math.log(1 / (1 + math.exp(-1))), abs=1e-12)
    assert float(layer_loss(h, h, ALL, 1.0)) == pytest.approx(0.31326, abs=1e-5)
    assert float(layer_loss(h, h, ALL, 0.0)) == 0


def test_the_loss_by_hand():
    guess, told = hidden(0), hidden(1)
    total = 0.0
    for i in range(3):
        for layer in range(2):
            for t in range(5):
                a, b = guess[i, layer, t], told[i, layer, t]
                cosine = float(a @ b / a.norm() / b.norm())
                total += float((a - b).abs().sum()) / 7 - 0.5 * math.log(1 / (1 + math.exp(-cosine)))
    assert float(layer_loss(guess, told, ALL, 0.5)) == pytest.approx(total / 30, abs=1e-12)


def test_the_cosine_term_is_blind_to_scale_and_the_distance_is_not():
    guess, told = hidden(0), hidden(1)
    scale = torch.rand(3, 2, 5, 1, generator=g(2), dtype=torch.float64) + 0.5

    def cosine(a, b):
        return layer_loss(a, b, ALL, 1.0) - layer_loss(a, b, ALL, 0.0)

    torch.testing.assert_close(cosine(scale * guess, told), cosine(guess, told))
    torch.testing.assert_close(cosine(guess, scale * told), cosine(guess, told))
    assert abs(float(layer_loss(scale * guess, told, ALL, 0.0) - layer_loss(guess, told, ALL, 0.0))) > 0.01


def test_the_order_of_frames_does_not_matter_and_padding_does_not_count():
    guess, told = hidden(0), hidden(1)
    order = torch.randperm(5, generator=g(3))
    torch.testing.assert_close(
        layer_loss(guess[:, :, order], told[:, :, order], ALL, 1.0), layer_loss(guess, told, ALL, 1.0)
    )
    frames = ALL.clone()
    frames[1, 3:] = frames[2, 1:] = False
    changed = guess.clone()
    changed[1, :, 3:] += 100
    torch.testing.assert_close(layer_loss(changed, told, frames, 1.0), layer_loss(guess, told, frames, 1.0))
    kept = [
        layer_loss(guess[i : i + 1, :, :k], told[i : i + 1, :, :k], ALL[:1, :k], 1.0) for i, k in enumerate((5, 3, 1))
    ]
    torch.testing.assert_close(layer_loss(guess, told, frames, 1.0), (5 * kept[0] + 3 * kept[1] + kept[2]) / 9)


def test_each_layer_has_a_head_on_its_own_part():
    heads = Heads(4, 6, 3).double()
    z = torch.randn(2, 5, 4, generator=g(), dtype=torch.float64)
    wide = F.gelu(heads.expand(z))
    assert wide.shape == (2, 5, 18)
    for layer in range(3):
        torch.testing.assert_close(heads(z)[:, layer], heads.each[layer](wide[..., 6 * layer : 6 * layer + 6]))


def test_without_noise_and_at_lambda_0_it_is_distilhubert(pair, sounds):
    _, plain = bound(DistilHuBERT((2, 3), cosine=0.7), *pair, sounds)
    _, ours = bound(method(cosine=0.7, enhancement=NONE, contamination=None), *pair, sounds)
    assert torch.equal(plain, ours)


def test_the_total_adds_the_two_tasks_with_their_weights(pair, sounds):
    heard = NOISE(sounds, g(2))
    module, total = bound(method(enhancement=replace(ASKED, weight=3.0), distillation=0.5), *pair, sounds, heard)
    parts = module.logged
    torch.testing.assert_close(total, 0.5 * parts["distillation"] + 3 * parts["enhancement"])
    module, total = bound(method(), *pair, sounds, heard)
    torch.testing.assert_close(total, module.logged["distillation"] + 2 * module.logged["enhancement"])
    module, total = bound(method(distillation=0.0), *pair, sounds, heard)
    torch.testing.assert_close(total, 2 * module.logged["enhancement"])


def test_the_layers_told_are_those_named(pair, sounds):
    student, teacher = pair
    module, loss = bound(method(enhancement=NONE), student, teacher, sounds)
    s = outputs(student, sounds, ("context", "frames")).features
    told = outputs(teacher, sounds, ("blocks.1", "blocks.2")).features
    expected = layer_loss(module.heads(s["context"]), torch.stack([*told.values()], 1), s["frames"], 1.0)
    torch.testing.assert_close(loss, expected)


def test_no_gradient_reaches_the_teacher(pair, sounds):
    student, teacher = pair
    _, loss = bound(method(), student, teacher, sounds, NOISE(sounds, g(2)))
    loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    missing = [name for name, p in student.named_parameters() if p.grad is None]
    assert missing == ["head.weight", "head.bias"]


def test_the_mask_only_takes_away(sounds):
    mask = enhancing.Mask(ASKED, 16).double()
    features = torch.randn(6, 29, 16, generator=g(), dtype=torch.float64)
    found = enhancing.enhanced(mask, features, sounds, ASKED, 80)
    whole = enhancing.spectrogram(sounds, ASKED)[:, : found.shape[1]]
    assert found.shape == (6, 58, 65)
    assert (found <= whole).all()
    assert (found >= 0).all()
    assert (found[whole > 0] < whole[whole > 0]).all()


def test_a_mask_of_1_on_the_clean_sound_leaves_nothing_to_do(sounds):
    features = torch.zeros(6, 29, 16, dtype=torch.float64)
    found = enhancing.enhanced(lambda x: torch.ones(*x.shape[:2], 65, dtype=x.dtype), features, sounds, ASKED, 80)
    assert float(enhancing.distance(found, sounds, ASKED)) == 0
    noisy = enhancing.enhanced(
        lambda x: torch.ones(*x.shape[:2], 65, dtype=x.dtype), features, sounds + 0.1 * sounds.roll(1, 0), ASKED, 80
    )
    S = enhancing.spectrogram(sounds + 0.1 * sounds.roll(1, 0), ASKED)[:, :58]
    clean = enhancing.spectrogram(sounds, ASKED)[:, :58]
    there = torch.arange(58) * 40 < wb.data.sound.lengths(sounds)[:, None]
    torch.testing.assert_close(enhancing.distance(noisy, sounds, ASKED), (S - clean).abs().mean(2)[there].mean())


def test_the_enhancement_aims_at_the_clean_sound(pair, sounds):
    student, teacher = pair
    heard = NOISE(sounds, g(2))
    module, loss = bound(method(distillation=0.0), student, teacher, sounds, heard)
    features = outputs(student, heard, "front").features["front"]
    masked = enhancing.enhanced(module.mask, features, heard, ASKED, 80)
    torch.testing.assert_close(loss, 2 * enhancing.distance(masked, sounds, ASKED))
    assert not torch.allclose(loss, 2 * enhancing.distance(masked, heard, ASKED))


@pytest.mark.parametrize("source", ["conv", "hidden"])
def test_both_sources_of_the_mask_are_there(pair, sounds, source):
    signal = method(enhancement=replace(ASKED, source=source), distillation=0.0)
    module, loss = bound(signal, *pair, sounds, NOISE(sounds, g(2)))
    gradient = torch.autograd.grad(loss, pair[0].blocks[0].wide.weight, allow_unused=True)[0]
    assert (gradient is None) == (source == "conv")
    assert module.mask.recurrent.input_size == 16


def test_defaults_are_the_papers():
    default = RobustDistiller()
    assert (default.layers, default.cosine, default.enhancement.weight, default.hop) == ((4, 8, 12), 1.0, 2.0, 320)
    asked, noise = default.enhancement, default.contamination
    assert (asked.n_fft, asked.window, asked.hop, asked.layers, asked.hidden) == (512, 400, 160, 3, 256)
    assert (asked.cell, asked.bidirectional, asked.source) == ("lstm", True, "conv")
    assert (noise.low, noise.high, noise.recorded, noise.curriculum) == (0, 20, 0.7, 0)
    mask = enhancing.Mask(asked, 512)
    assert mask(torch.zeros(1, 4, 512)).shape == (1, 4, 257)


class Heard(RobustDistiller):
    """Notes what teacher and student are shown."""

    def bind(self, student, teacher, labels, *, generator):
        module = super().bind(student, teacher, labels, generator=generator)
        self.__dict__["seen"] = seen = []
        forward = module.forward

        def noting(s, t, labels):
            seen.append(
                (s.features["wave"].detach().clone(), t.features["wave"].clone(), t.features["blocks.2"].clone())
            )
            return forward(s, t, labels)

        module.forward = noting
        return module


def test_the_teacher_says_the_same_of_every_contaminated_copy(data, teacher):
    signal = Heard((2, 3), hop=80, enhancement=ASKED, contamination=NOISE)
    distill(teacher, student_of(teacher, 1), data, signal, steps=10, batch_size=8, progress=False, device="cpu")
    told, different = {}, 0
    for heard, clean, layer in signal.seen:
        different += int((heard != clean).any(1).sum())
        for wave, feature in zip(clean, layer, strict=True):
            said = hashlib.sha256(feature.numpy().tobytes()).hexdigest()
            assert told.setdefault(wave.numpy().tobytes(), said) == said
    assert len(told) == len(data.train)
    assert set(told) == {wave.numpy().tobytes() for wave in data.train.inputs}
    assert 0.6 < different / 80 < 0.9  # three of four cases


def test_under_plain_augmentation_the_teacher_hears_the_noise(data, teacher):
    """A loud contamination moves what the teacher says, and the record's loss with it."""
    loud = Contamination(low=-40, high=-40, rate=8000)
    losses = {}
    for name, signal in {
        "clean": DistilHuBERT((3,)), "both": DistilHuBERT((3,), contamination=loud),
        "student": RobustDistiller((3,), hop=80, enhancement=NONE, contamination=loud),
    }.items():  # fmt: skip
        student = student_of(teacher, 3)
        record = distill(teacher, student, data, signal, steps=1, batch_size=40, progress=False, device="cpu")
        losses[name] = float(record.curves["train_loss"][0])
    assert losses["both"] != losses["clean"]
    assert losses["student"] not in (losses["both"], losses["clean"])


def test_a_run_leaves_the_teacher_and_the_head_and_learns(data, teacher):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = student_of(teacher, 1)
    head = student.head.weight.clone()
    record = distill(teacher, student, data, method(), steps=20, lr=5e-3, batch_size=8, progress=False, device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert torch.equal(student.head.weight, head)
    assert record.model is student
    assert record.curves["train_loss"][-1] < record.curves["train_loss"][0]
    assert "RobustDistiller(layers=(2, 3)" in record.settings["loss"]
    assert record.settings["schedule"] == "linear"


def test_what_trained_the_student_is_no_part_of_it(data, teacher, tmp_path):
    student = student_of(teacher, 1)
    record = distill(teacher, student, data, method(), steps=2, batch_size=8, progress=False, device="cpu")
    assert set(record.state) == set(teacher.state_dict()) - {
        n for n in teacher.state_dict() if n[:8] in ("blocks.1", "blocks.2")
    }
    again = wb.records.open(record.save(tmp_path / "r.safetensors")).model
    torch.testing.assert_close(again(data.test.inputs), student(data.test.inputs))


def test_a_run_continues_to_the_same_bits(data, teacher):
    options = {"batch_size": 8, "progress": False, "device": "cpu", "seed": 3}
    signal = method(contamination=Contamination(rate=8000, curriculum=6))
    whole = distill(teacher, student_of(teacher, 1), data, signal, steps=6, evaluate_every=2, **options)

    kept = []

    class Stopping(Contamination):
        def at(self, step):
            kept.append(step)
            if step == 3 and len(kept) == 4:
                raise KeyboardInterrupt
            return super().at(step)

    half = method(contamination=Stopping(rate=8000, curriculum=6))
    student = student_of(teacher, 1)
    part = distill(teacher, student, data, half, steps=6, evaluate_every=2, **options)
    assert part.interrupted
    fresh = student_of(teacher, 1)
    rest = distill(teacher, fresh, data, half, steps=6, evaluate_every=2, resume=part, **options)
    assert not rest.interrupted
    assert all(torch.equal(value, whole.state[name]) for name, value in rest.state.items())


def test_labels_are_never_read(data, teacher):
    other = replace(data, train=replace(data.train, labels=data.train.labels.flip(0)))
    states = [
        distill(teacher, student_of(teacher, 1), d, method(), steps=3, batch_size=8, progress=False, device="cpu").state
        for d in (data, other)
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t, s, d: distill(t, t, d, method()), "use student_of"),
        (lambda t, s, d: distill(t, s, d, DistilHuBERT((4,))), "layers reaches to 4, but the teacher has 3"),
        (lambda t, s, d: distill(t, s, d, RobustDistiller((2,))), "hop is 320"),
        (lambda t, s, d: distill(t, s, wb.data.load("digits"), method()), "is no sound"),
        (lambda t, s, d: distill(t, torch.nn.Linear(2, 2), d, method()), "student is a Linear"),
        (lambda t, s, d: student_of(t, 4), "depth is 4"),
        (lambda t, s, d: student_of(torch.nn.Linear(2, 2)), "teacher is a Linear"),
        (lambda t, s, d: RobustDistiller(hop=100), "hop is 100"),
        (lambda t, s, d: RobustDistiller(distillation=0, enhancement=NONE, hop=80), "nothing is left to learn"),
        (lambda t, s, d: DistilHuBERT((0,)), r"layers is \(0,\)"),
        (lambda t, s, d: Enhancement(source="mel"), "source is 'mel'"),
        (lambda t, s, d: Enhancement(hop=500), "hop=500"),
        (lambda t, s, d: probe(s, wb.data.load("digits").train), "10 classes"),
    ],
)
def test_what_cannot_be_meant_is_named(data, teacher, call, message):
    with pytest.raises(ValueError, match=message):
        call(teacher, student_of(teacher, 1), data)


def test_networks_with_other_frames_are_refused(data, teacher):
    other = wb.models.build("speech", data, depth=1, width=16, kernels=[20, 4], strides=[10, 4])
    with pytest.raises(ValueError, match="both need the same kernels"):
        distill(teacher, other, data, DistilHuBERT((2,)), steps=1, progress=False)
