"""`build`: networks by name."""

import pytest
import torch
from torch import nn

from workbench.data import load
from workbench.models import build, from_spec, names, observe

SHAPES = [((1, 8, 8), 10), ((1, 8, 16), 100), ((1, 28, 28), 10), ((3, 32, 32), 10)]
SMALL = [name for name in names() if name not in ("resnet56", "resnet110")]


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("data", SHAPES, ids=str)
def test_every_network_takes_every_image_and_tells_its_penultimate_features(name, data):
    shape, classes = data
    model = build(name, data).eval()
    out = observe(model, model.penultimate)(torch.randn(2, *shape))
    assert out.logits.shape == (2, classes)
    (features,) = out.features.values()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    torch.testing.assert_close(last(features), out.logits)


@pytest.mark.parametrize("name", SMALL)
def test_the_spec_rebuilds_the_network(name):
    model = build(name, ((1, 8, 8), 10), seed=3)
    twin = from_spec(model.spec)
    assert twin.spec == model.spec
    twin.load_state_dict(model.state_dict())
    x = torch.randn(2, 1, 8, 8)
    assert torch.equal(model.eval()(x), twin.eval()(x))


@pytest.mark.parametrize("name", ["mlp", "convnet", "resnet8", "vit", "mixer"])
def test_weights_depend_on_the_seed_and_leave_the_global_state_alone(name):
    def weights(seed):
        return torch.cat([p.flatten() for p in build(name, ((1, 8, 8), 10), seed=seed).parameters()])

    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = weights(1)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert torch.equal(first, weights(1))
    assert not torch.equal(first, weights(2))


def test_a_dataset_gives_shape_classes_and_device():
    digits = load("digits")
    assert build("mlp", digits).spec["shape"] == [1, 8, 8]
    assert build("mlp", digits.train).spec["classes"] == 10
    diabetes = load("diabetes")
    assert build("mlp", diabetes)(diabetes.test.inputs).shape == (len(diabetes.test), 1)


def test_a_spec_is_plain():
    import json

    for name in SMALL:
        spec = build(name, ((1, 8, 8), 10)).spec
        assert json.loads(json.dumps(spec)) == spec


def test_an_mlp_of_given_widths():
    model = build("mlp", ((1, 8, 8), 10), width=[64, 12], activation="tanh")
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [(64, 64), (12, 64), (10, 12)]
    assert model.penultimate == "hidden.1"
    assert isinstance(model.hidden[0][1], nn.Tanh)
    assert build("mlp", ((5,), 3), depth=1, width=7).penultimate == "hidden.0"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["resnet21", ((1, 8, 8), 10)], {}, r"depth=21 must be 6n \+ 2"),
        (["resnet20", ((1, 8, 8), 10)], {"depth": 20}, "depth=20 is not taken by resnet20"),
        (["resnet", ((1, 8, 8), 10)], {}, "name='resnet' is not one of"),
        (["convnt", ((1, 8, 8), 10)], {}, "name='convnt' is not one of mlp, convnet"),
        (["convnet", ((1, 8, 8), 10)], {"depth": 4}, r"depth=4 halves a 8×8 image .* at most 3"),
        (["convnet", ((1, 8, 8), 10)], {"norm": "weight"}, "norm='weight' is not one of instance, group"),
        (["convnet", ((1, 8, 8), 10)], {"norm": "group", "width": 6}, "width=6 must be a multiple of 4"),
        (["convnet", ((1, 8, 8), 10)], {"pooling": "sum"}, "pooling='sum'"),
        (["convnet", ((1, 8, 8), 10)], {"activation": "step"}, "activation='step'"),
        (["convnet", ((1, 8, 8), 10)], {"patch": 2}, "convnet has no option 'patch': it takes activation, depth"),
        (["convnet", ((1, 8, 8), 10)], {"width": 0}, "width=0 must be a whole number"),
        (["convnet", ((1, 8, 8), 10)], {"width": 2.5}, r"width=2\.5 must be a whole number"),
        (["convnet", ((1, 8, 8), 10)], {"width": [4, 4]}, r"width=\[4, 4\] must be a whole number"),
        (["convnet", ((30,), 2)], {}, "reads images of shape"),
        (["mlp", ((30,), 2)], {"width": [4, 4], "depth": 3}, r"width=\[4, 4\] has 2 entries, but depth=3"),
        (["mlp", ((30,), 0)], {}, "must be at least 1"),
        (["mlp", 7], {}, "must be a Dataset, a Split or"),
        (["vit", ((1, 8, 8), 10)], {"patch": 3}, "patch=3 does not divide"),
        (["vit", ((1, 8, 8), 10)], {"heads": 5}, "multiple of heads=5"),
    ],
)
def test_misuse_is_refused_with_argument_and_remedy(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        build(*arguments, **options)


def test_a_spec_that_lacks_something_is_refused():
    with pytest.raises(ValueError, match="spec lacks classes, options"):
        from_spec({"name": "mlp", "shape": [3]})


def test_every_kind_of_network_is_listed_for_one_job_and_built_at_its_own_sizes():
    from workbench import models
    from workbench.models import kinds

    given = {"images": ((3, 32, 32), 10), "anything": ((5,), 3), "text": ((8,), 20), "sound": ((4000,), 4)}
    listed = {*models.names(), *models.denoiser_names(), *models.language_names(), *models.speech_names()}
    for kind in kinds.KINDS.values():
        of_it = [name for name in listed if (found := kinds.kind_of(name)) is not None and found[0] is kind]
        assert of_it, kind.make
        network = models.build(min(of_it, key=len), given[kind.reads])
        assert isinstance(network, kind.make)
        assert network.spec["options"] == kind.sizes(given[kind.reads][0], None) | network.spec["options"]
