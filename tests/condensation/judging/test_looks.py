"""What `look` says of each image is what its definition gives, through views, soft labels and foreign networks."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from workbench import analysis, records
from workbench.analysis import loss_and_gradient_norm, nearest
from workbench.condensation import leave_one_out, look
from workbench.condensation.judging.look import features
from workbench.condensation.judging.usable import decoded
from workbench.data import Dataset, Split
from workbench.models import build, observe
from workbench.records import DistilledSet


def split(n, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(n, 1, 6, 6, generator=generator)
    mean = torch.full((1, 1, 1), 0.4)
    return Split(inputs, torch.arange(n) % 3, ("a", "b", "c"), mean, mean / 2, index=torch.arange(n) + 1000 * seed)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset("tiny", split(40, 1), split(24, 2))


@pytest.fixture(scope="module")
def distilled(data) -> DistilledSet:
    few = data.train.per_class(2, seed=1)
    return DistilledSet(name="few", method="Random", images=few.inputs + 0.01, labels=few.labels, classes=data.classes,
                        mean=data.mean, std=data.std)  # fmt: skip


@pytest.fixture(scope="module")
def network(data) -> nn.Module:
    return build("convnet", data, seed=5, width=4, depth=1)


def test_loss_and_gradient_norm_are_those_of_each_example_alone(network, data):
    own = build("convnet", data, seed=5, width=4, depth=1).double()
    x, y = data.test.inputs[:7].double(), data.test.labels[:7]
    loss, norm = loss_and_gradient_norm(own, x, y, batch_size=3)
    soft = torch.softmax(torch.randn(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 1)
    soft_loss, soft_norm = loss_and_gradient_norm(own, x, soft)
    for i in range(7):
        for label, value, size in ((y[i : i + 1], loss, norm), (soft[i : i + 1], soft_loss, soft_norm)):
            own.zero_grad()
            wanted = F.cross_entropy(own(x[i : i + 1]), label)
            wanted.backward()
            torch.testing.assert_close(value[i], wanted.detach())
            squares = sum(p.grad.square().sum() for p in own.parameters())
            torch.testing.assert_close(size[i], squares.sqrt())
    frozen = build("convnet", data, seed=5, width=4, depth=1).double().requires_grad_(False)
    torch.testing.assert_close(loss_and_gradient_norm(frozen, x, y)[1], norm)
    assert network.training


@pytest.mark.parametrize("batch_size", [4096, 7])
def test_nearest_is_exact_also_for_copies(batch_size):
    generator = torch.Generator().manual_seed(0)
    among = 100 + torch.randn(50, 1, 3, 3, generator=generator)  # far from zero, where a matrix product rounds
    queries = torch.cat([among[[4, 30]], 100 + torch.randn(3, 1, 3, 3, generator=generator)])
    distance, rows = nearest(queries, among, 5, batch_size=batch_size)
    exact = (queries.double().flatten(1)[:, None] - among.double().flatten(1)).square().sum(2).sqrt()
    wanted = exact.sort(dim=1, stable=True)
    assert torch.equal(rows, wanted.indices[:, :5])
    torch.testing.assert_close(distance, wanted.values[:, :5].float())
    assert distance[:2, 0].tolist() == [0.0, 0.0]
    assert nearest(queries, among[:3], 5)[0].shape == (5, 3)
    with pytest.raises(ValueError, match="rows must agree"):
        nearest(queries, among[:, :, :2])
    with pytest.raises(ValueError, match="at least 1"):
        nearest(queries, among, 0)


def test_look_gives_each_definition(data, distilled, network):
    network.train()
    found = look(distilled, data, network, nearest=3, attributions=("saliency", "integrated_gradients"),
                 progress=False)  # fmt: skip
    assert network.training
    network.eval()
    with torch.no_grad():
        logits = network(distilled.images)
        layer = network.penultimate
        own = observe(network, layer)(distilled.images).features[layer]
        theirs = observe(network, layer)(data.train.inputs).features[layer]
    torch.testing.assert_close(found.probabilities, logits.softmax(1))
    torch.testing.assert_close(found.loss, F.cross_entropy(logits, distilled.labels, reduction="none"))
    for rows, distance, wanted in (
        (found.nearest_pixels, found.nearest_pixels_distance, nearest(distilled.images, data.train.inputs, 3)),
        (found.nearest_features, found.nearest_features_distance, nearest(own, theirs, 3)),
    ):
        assert torch.equal(found.real_index[rows], data.train.index[wanted[1]])
        assert torch.equal(found.real_labels[rows], data.train.labels[wanted[1]])
        assert torch.equal(found.real[rows], data.train.images()[wanted[1]])
        assert not found.real_is_test[rows].any()
        torch.testing.assert_close(distance, wanted[0])
    assert found.influence is None
    again = analysis.attribute(network, distilled.images, distilled.labels, mean=data.mean, std=data.std)
    torch.testing.assert_close(found.attributions["integrated_gradients"].values, again.values)
    assert found.attributions["saliency"].delta is None
    network.train()


def test_influence_is_by_class_and_names_test_images(data, distilled):
    shares = []
    found = look(distilled, data, "mlp", influence="mlp", steps=12, influenced=4, epochs=3, progress=False,
                 watch=shares.append)  # fmt: skip
    change, _ = leave_one_out(build("mlp", data, seed=0), decoded(distilled)[0], data.test, steps=12)
    for c in range(3):
        torch.testing.assert_close(found.influence[:, c], change[:, data.test.labels == c].mean(1))
    top = change.abs().topk(4, dim=1).indices
    assert torch.equal(found.real_index[found.influence_rows], data.test.index[top])
    assert bool(found.real_is_test[found.influence_rows].all())
    torch.testing.assert_close(found.influence_values, change.gather(1, top))
    assert shares[-1] == 1.0


def test_tiles_and_soft_labels_are_averaged_over_an_image(data, distilled, network):
    soft = (0.8 * F.one_hot(distilled.labels, 3) + 0.2 / 3).float()
    tiled = distilled.replace(labels=soft, view={"tiles": 2})
    examples, labels, owner = decoded(tiled)
    found = look(tiled, data, network, influence="mlp", steps=3, progress=False)
    loss, norm = loss_and_gradient_norm(network, examples.inputs, labels)
    for i in range(6):
        torch.testing.assert_close(found.loss[i], loss[owner == i].mean())
        torch.testing.assert_close(found.gradient_norm[i], norm[owner == i].mean())
    assert found.influence.shape == (6, 3)


def test_a_network_of_the_users_own_needs_no_names(data, distilled):
    own = nn.Sequential(nn.Flatten(), nn.Linear(36, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    found = look(distilled, data, own, progress=False)
    assert found.network == "Sequential"
    assert found.spec is None
    torch.testing.assert_close(features(own, data.test.inputs), own[:3](data.test.inputs).detach())
    convolutional = nn.Sequential(nn.Conv2d(1, 3, 6), nn.Flatten())
    with pytest.raises(ValueError, match="no linear layer"):
        look(distilled, data, convolutional, progress=False)
    with pytest.raises(ValueError, match="4 outputs"):
        look(distilled, data, nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), progress=False)


def test_the_default_network_is_that_of_the_images_trained_on_them(data, distilled):
    spec = build("convnet", data, width=4, depth=1).spec
    found = look(distilled.replace(spec=spec), data, epochs=100, progress=False)
    assert found.spec == spec
    assert found.settings["trained_here"]
    assert float(found.loss.mean()) < 0.7 * torch.tensor(3.0).log()


def test_looks_survive_a_file(data, distilled, network, tmp_path):
    found = look(distilled, data, network, influence="mlp", steps=2, attributions=("occlusion",), progress=False)
    back = records.open(found.save(tmp_path / "l.safetensors"))
    assert torch.equal(back.influence_rows, found.influence_rows)
    assert torch.equal(back.attributions["occlusion"].values, found.attributions["occlusion"].values)
    frame = back.to_frame()
    assert len(frame) == 6
    assert "influence[b]" in frame
    assert "influence by leaving each out" in back.summary()
