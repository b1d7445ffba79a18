"""A pool rendered from images: as many real ones as asked, without labels, in other styles; junk is none of them."""

import pytest
import torch

import workbench as wb
from workbench.data import DataError, web_pool
from workbench.data.web_pool import styled


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits")


@pytest.mark.parametrize("junk", [0.0, 0.4, 1.0])
def test_as_much_junk_as_asked_and_no_label(digits, junk):
    pool = web_pool(digits, 100, junk=junk)
    assert int((~pool.real).sum()) == round(100 * junk)
    assert not pool.split.labelled.any()
    assert pool.split.shape == digits.shape
    raw = pool.split.inputs * digits.std + digits.mean
    assert float(raw.min()) >= -1e-5
    assert float(raw.max()) <= 1 + 1e-5


def test_without_shift_real_examples_are_those_of_the_data_and_with_it_none_is(digits):
    few = digits.train.subset(50)
    for shift, near in ((0.0, True), (1.0, False)):
        pool = web_pool(few, 60, junk=0.5, shift=shift, seed=3)
        apart = torch.cdist(pool.split.inputs.flatten(1), few.inputs.flatten(1)).amin(1)
        assert bool((apart[pool.real] < 0.05).all()) is near
        assert (apart[~pool.real] > 0.05).all()


def test_seeds_decide_and_styles_differ_from_image_to_image(digits):
    a, b, c = (web_pool(digits, 30, seed=seed).split.inputs for seed in (1, 1, 2))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)
    one = (digits.train.inputs[:1] * digits.std + digits.mean).expand(5, -1, -1, -1)
    made = styled(one, 1.0, torch.Generator().manual_seed(0))
    assert torch.cdist(made.flatten(1), made.flatten(1)).fill_diagonal_(1).min() > 0.05
    torch.testing.assert_close(styled(one, 0.0, torch.Generator().manual_seed(0)), one)


def test_colour_pictures_and_tables_have_pools_too():
    colour = wb.data.from_arrays(torch.rand(20, 3, 12, 10), torch.arange(20) % 2)
    assert web_pool(colour, 12).split.shape == (3, 12, 10)
    table = wb.data.load("wine")
    pool = web_pool(table, 40, junk=0.25, shift=0.0)
    apart = torch.cdist(pool.split.inputs, table.train.inputs).amin(1)
    assert (apart[pool.real] < 0.05).all()
    assert (apart[~pool.real] > 0.05).all()
    assert int((~pool.real).sum()) == 10


@pytest.mark.parametrize("arguments", [{"junk": 1.5}, {"shift": -1}, {"n": 0}])
def test_bad_arguments_are_named(digits, arguments):
    with pytest.raises(DataError, match=next(iter(arguments))):
        web_pool(digits, **{"n": 10} | arguments)
