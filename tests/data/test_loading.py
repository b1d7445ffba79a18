"""`load`: names, paths and options."""

import pytest

from workbench.data import DataError, load, names


def test_every_bundled_name_loads():
    for name in set(names()) - {"mnist", "fashion-mnist", "cifar10", "cifar100", "cifar100-coarse", "tiny-imagenet"}:
        data = load(name, seed=2)
        assert data.name == name
        assert name in data.summary()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["digit"], {}, "name='digit' is neither a folder or zip file nor one of digits,"),
        (["digits", "/tmp"], {}, "root is for mnist, fashion-mnist, cifar10"),
        (["digits"], {"size": 3}, "digits has no option 'size': it takes none"),
        (["digit-pairs"], {"sizes": 3}, "digit-pairs has no option 'sizes': it takes n_test, n_train, ones, tens"),
        (["iris"], {"source": "x"}, "iris has no option 'source'"),
        (["mnist"], {"size": 3}, "mnist has no option 'size'"),
        (["cifar100"], {}, r"cifar100 is read from a folder: pass root=, a folder with cifar-100-python\.tar\.gz or"),
        (["tiny-imagenet"], {}, r"tiny-imagenet is read from a folder: pass root=.* tiny-imagenet-200\.zip or"),
        (["mnist", "/nowhere/at/all"], {}, "root='/nowhere/at/all' does not exist; mnist is read from"),
    ],
)
def test_misuse_is_refused_with_what_would_do(arguments, options, message):
    with pytest.raises(DataError, match=message):
        load(*arguments, **options)
