"""A fingerprint depends on every example and on nothing else."""

from dataclasses import replace

import pytest
import torch

import workbench as wb
from workbench.data import fingerprint


@pytest.fixture(scope="module")
def digits():
    return wb.data.load("digits").subset(60)


def changed(digits, **changes):
    return replace(digits, train=replace(digits.train, **changes))


def test_any_change_shows(digits):
    inputs, labels = digits.train.inputs.clone(), digits.train.labels.clone()
    inputs[17, 0, 3, 4] += 1e-6
    labels[[0, 1]] = labels[[1, 0]]
    assert int(labels[0]) != int(labels[1])
    others = [
        changed(digits, inputs=inputs),
        changed(digits, labels=labels),
        digits.train,
        replace(digits.train, classes=tuple("abcdefghij")),
        changed(digits, std=digits.train.std * 2),
        digits.subset(59),
    ]
    assert len({fingerprint(one) for one in [digits, *others]}) == 7


def test_name_layout_and_chunks_do_not(digits, monkeypatch):
    before = fingerprint(digits)
    strided = digits.train.inputs.transpose(2, 3).contiguous().transpose(2, 3)
    assert fingerprint(changed(replace(digits, name="other"), inputs=strided)) == before
    monkeypatch.setattr("workbench.data.identity.CHUNK", 1000)
    assert fingerprint(digits) == before


def test_a_table_without_classes_has_one(digits):
    table = wb.data.Split(torch.randn(5, 3), torch.randn(5), (), torch.zeros(3), torch.ones(3))
    assert len(fingerprint(table)) == 16
