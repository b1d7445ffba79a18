"""`observe`: features of any network's layers, or a clear reason why not."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from workbench.models import LayerNameError, LayerOutputError, build, observe


def no_hooks(model):
    return not any(module._forward_hooks for module in model.modules())


def test_features_are_what_the_layers_return_and_gradients_flow_through_them():
    model = build("convnet", ((1, 8, 8), 10), width=4).double()
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    out = observe(model, ["stage*", "head"])(x)
    assert torch.equal(out.logits, model(x))
    assert torch.equal(out.features["stage1"], model.stage1(x))
    assert torch.equal(out.features["head"], out.logits)
    assert list(out.features) == ["stage1", "stage2", "head"]
    (gradient,) = torch.autograd.grad(out.features["stage2"].sum(), model.stage1.conv.weight)
    (wanted,) = torch.autograd.grad(model.stage2(model.stage1(x)).sum(), model.stage1.conv.weight)
    assert torch.equal(gradient, wanted)


def test_no_hook_stays_behind_not_even_after_an_error():
    model = build("mlp", ((4,), 3))
    with observe(model, "hidden.*") as observer:
        observer(torch.zeros(2, 4))
        assert no_hooks(model)
        with pytest.raises(RuntimeError):
            observer(torch.zeros(2, 5))
    assert no_hooks(model)


def test_the_mode_is_left_as_it_is():
    model = build("resnet8", ((1, 8, 8), 10)).eval()
    before = model.bn1.running_mean.clone()
    observe(model, "layer*")(torch.randn(4, 1, 8, 8))
    assert torch.equal(before, model.bn1.running_mean)
    assert not model.training


def test_unknown_layers_are_refused_at_once():
    with pytest.raises(LayerNameError, match="nearest"):
        observe(build("mlp", ((4,), 3)), "hiden.0")


class InPlace(nn.Module):
    """Like torchvision's ResNet block: an in-place ReLU after one layer, and an in-place sum after another."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.BatchNorm1d(4)
        self.relu = nn.ReLU(inplace=True)
        self.norm2 = nn.BatchNorm1d(4)

    def forward(self, x):
        out = self.relu(self.norm1(x))
        out = self.norm2(out)
        out += x
        return self.relu(out)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_features_do_not_change_when_later_layers_work_in_place(mode):
    model = InPlace().eval()
    x = torch.randn(5, 4)
    with mode():
        out = observe(model, ["norm1", "norm2"])(x)
        first = model.norm1(x)
        assert torch.equal(out.features["norm1"], first)
        assert bool((first < 0).any())
        assert torch.equal(out.features["norm2"], model.norm2(first.relu()))


def test_a_layer_that_runs_twice_is_asked_for_by_run():
    model = InPlace().eval()
    x = torch.randn(5, 4)
    with pytest.raises(LayerOutputError, match=r"layer 'relu' of InPlace runs 2 times .* 'relu#1' to 'relu#2'"):
        observe(model, "relu")(x)
    out = observe(model, ["relu#1", "relu#2"])(x)
    assert torch.equal(out.features["relu#1"], model.norm1(x).relu())
    assert torch.equal(out.features["relu#2"], out.logits)
    with pytest.raises(LayerOutputError, match=r"runs 2 times .*'relu#3' asks for run 3"):
        observe(model, "relu#3")(x)


class Odd(nn.Module):
    """Layers that return all sorts of things."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.table = Returns(lambda x: {"hidden": x, "size": 3})
        self.record = Returns(lambda x: SimpleNamespace(last_hidden_state=x))
        self.flat = Returns(lambda x: x.reshape(-1, 2))
        self.total = Returns(lambda x: x.sum())
        self.unused = nn.Linear(4, 4)
        self.nothing = Returns(lambda x: None)

    def forward(self, x):
        self.attention(x, x, x)
        for layer in (self.table, self.record, self.flat, self.total, self.nothing):
            layer(x)
        return x[:, 0]


class Returns(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("attention", r"layer 'attention' of Odd returns a tuple of 2, not a tensor: .*'attention:0'"),
        ("attention:2", "returns a tuple of 2, which has no part '2'"),
        ("table", "returns a dict with hidden, size, not a tensor"),
        ("table:x", "returns a dict with hidden, size, which has no part 'x'"),
        ("table:size", "returns a int, not a tensor"),
        ("record", "returns a SimpleNamespace, not a tensor"),
        ("record:x", "SimpleNamespace, which has no part 'x'"),
        ("flat", r"returns a tensor of shape \(18, 2\), whose first axis is not the batch of 3"),
        ("total", r"returns a tensor of shape \(\)"),
        ("unused", "layer 'unused' of Odd did not run in the forward pass"),
        ("nothing", "returns a NoneType"),
    ],
)
def test_an_output_that_is_no_features_says_so(layer, message):
    with pytest.raises(LayerOutputError, match=message):
        observe(Odd(), layer)(torch.randn(3, 3, 4))


def test_parts_of_outputs_are_reached_by_name():
    x = torch.randn(3, 3, 4)
    out = observe(Odd(), ["attention:0", "attention:1", "table:hidden", "record:last_hidden_state"])(x)
    assert {name: tuple(value.shape) for name, value in out.features.items()} == {
        "attention:0": (3, 3, 4),
        "attention:1": (3, 3, 3),
        "table:hidden": (3, 3, 4),
        "record:last_hidden_state": (3, 3, 4),
    }


def test_a_lenient_observer_leaves_out_what_it_cannot_use_and_says_why():
    observer = observe(Odd(), ["*", "attention:0"], lenient=True)
    out = observer(torch.randn(3, 3, 4))
    assert list(out.features) == ["attention:0"]
    assert set(observer.unusable) == {"attention", "table", "record", "flat", "total", "unused", "nothing"}
    assert observer.unusable["unused"] == "did not run in the forward pass"


class Classifier(nn.Module):
    """Returns its logits in the way of some library."""

    def __init__(self, wrap):
        super().__init__()
        self.body = nn.Linear(4, 3)
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(self.body(x))


@pytest.mark.parametrize("wrap", [lambda z: z, lambda z: SimpleNamespace(logits=z, loss=None), lambda z: {"logits": z}])
def test_logits_are_found_where_libraries_put_them(wrap):
    model, x = Classifier(wrap), torch.randn(2, 4)
    out = observe(model, "body")(x)
    assert torch.equal(out.logits, model.body(x))
    assert torch.equal(out.features["body"], out.logits)


def test_logits_anywhere_else_are_read_by_a_function():
    model, x = Classifier(lambda z: (None, z)), torch.randn(2, 4)
    with pytest.raises(LayerOutputError, match="returns a tuple without logits: pass logits="):
        observe(model)(x)
    assert torch.equal(observe(model, logits=lambda out: out[1])(x).logits, model.body(x))


class HiddenStates(nn.Module):
    """A transformer layer that returns a tuple, as those of transformers do."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Linear(4, 4)

    def forward(self, x):
        return (self.dense(x).tanh(), "attentions")


class LikeTransformers(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.layer = nn.ModuleList(HiddenStates() for _ in range(3))
        self.classifier = nn.Linear(4, 5)

    def forward(self, x):
        for layer in self.encoder.layer:
            x = layer(x)[0]
        return SimpleNamespace(logits=self.classifier(x.mean(1)), hidden_states=None)


class LikeTimm(nn.Module):
    """Blocks in a Sequential, identities in place of what is switched off, a forward in two halves."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(nn.Sequential(nn.LayerNorm(4), nn.Identity(), nn.Linear(4, 4)) for _ in range(2)))
        self.fc_norm = nn.Identity()
        self.head = nn.Linear(4, 5)

    def forward_features(self, x):
        return self.blocks(x)

    def forward(self, x):
        return self.head(self.fc_norm(self.forward_features(x)[:, 0]))


def test_layers_of_a_transformers_like_network_are_reached_by_glob_and_part():
    model, x = LikeTransformers(), torch.randn(2, 3, 4)
    with pytest.raises(LayerOutputError, match=r"'encoder\.layer\.0' .* returns a tuple of 2, .*'encoder\.layer\.0:0'"):
        observe(model, "encoder.layer")(x)
    out = observe(model, "encoder.layer.*:0")(x)
    assert list(out.features) == ["encoder.layer.0:0", "encoder.layer.1:0", "encoder.layer.2:0"]
    assert torch.equal(out.features["encoder.layer.0:0"], model.encoder.layer[0](x)[0])
    assert torch.equal(out.logits, model.classifier(out.features["encoder.layer.2:0"].mean(1)))


def test_layers_of_a_timm_like_network_are_reached_by_glob():
    model, x = LikeTimm(), torch.randn(2, 3, 4)
    out = observe(model, ["blocks", "blocks.*", "fc_norm"])(x)
    assert list(out.features) == ["blocks", "blocks.0", "blocks.1", "fc_norm"]
    assert torch.equal(out.features["blocks"], out.features["blocks.1"])
    assert torch.equal(model.head(out.features["fc_norm"]), out.logits)


@pytest.mark.parametrize("training", [False, True])
def test_torchs_own_transformer_is_observed_in_both_modes(training):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(24, 3)).train(training)
    with torch.no_grad():  # where torch may take a fused path that runs no inner layer
        out = observe(model, "0.layers.*.linear2")(torch.randn(2, 3, 8))
    assert [tuple(value.shape) for value in out.features.values()] == [(2, 3, 8)] * 2


class Functional(nn.Module):
    """A user's own network: a module used in two places, and functions that are no layers."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.alias = self.encoder
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        return self.head(functional.relu(self.encoder(x)))


def test_an_alias_is_observed_under_the_name_asked_for():
    model, x = Functional(), torch.randn(2, 4)
    out = observe(model, ["alias", "encoder"])(x)
    assert torch.equal(out.features["alias"], model.encoder(x))
    assert torch.equal(out.features["encoder"], out.features["alias"])


@pytest.mark.parametrize("name", ["mlp", "convnet", "resnet8", "vit", "mixer"])
def test_many_networks_are_observed_at_once_under_vmap(name):
    options = {} if name == "resnet8" else {"depth": 2}
    models = [build(name, ((1, 8, 8), 10), seed=s, width=8, **options).double().eval() for s in range(3)]
    layers = ["*", *{"vit": ["blocks.*.attention"], "resnet8": ["layer*.*.conv2"]}.get(name, [])]
    parameters, buffers = torch.func.stack_module_state(models)
    template = build(name, ((1, 8, 8), 10), width=8, **options).double().eval()
    observer = observe(template, layers)
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)

    def run(state, x):
        out = observer(x, state)
        return out.logits, dict(out.features)

    logits, features = torch.vmap(run, in_dims=(0, None))(parameters | buffers, x)
    for i, model in enumerate(models):
        alone = observe(model, layers)(x)
        torch.testing.assert_close(logits[i], alone.logits)
        assert list(features) == list(alone.features)
        for layer, value in alone.features.items():
            torch.testing.assert_close(features[layer][i], value)


@pytest.mark.parametrize("network", ["convnet", "resnet8"])
def test_batch_norm_updates_stacked_buffers_as_one_by_one(network):
    options = {"norm": "batch"} if network == "convnet" else {}
    models = [build(network, ((1, 8, 8), 10), seed=s, width=4, **options).double() for s in range(3)]
    parameters, buffers = torch.func.stack_module_state(models)
    observer = observe(models[0])
    x, y = torch.randn(3, 6, 1, 8, 8, dtype=torch.float64), torch.arange(18).reshape(3, 6) % 10

    def loss(parameters, buffers, x, y):
        return functional.cross_entropy(observer(x, parameters | buffers).logits, y)

    gradients = torch.vmap(torch.func.grad(loss))(parameters, buffers, x, y)
    for i, model in enumerate(models):
        functional.cross_entropy(model(x[i]), y[i]).backward()
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(gradients[name][i], parameter.grad)
        for name, buffer in model.named_buffers():
            torch.testing.assert_close(buffers[name][i], buffer)
