"""`load`: names, paths and options."""

import pytest

from workbench.data import DataError, load, names


def test_every_bundled_name_loads():
    for name in set(names()) - {"mnist", "fashion-mnist", "cifar10"}:
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
        (["mnist", "/nowhere/at/all"], {}, "root='/nowhere/at/all' does not exist; mnist is read from"),
    ],
)
def test_misuse_is_refused_with_what_would_do(arguments, options, message):
    with pytest.raises(DataError, match=message):
        load(*arguments, **options)
