"""ZCA whitening is fitted on the training split, and a set made from whitened data is shown unwhitened."""

import pytest
import torch

import workbench as wb
from workbench import records
from workbench.condensation import DistributionMatching, Random, condense, evaluate
from workbench.data import DataError, Whitening, whitened


def test_it_is_the_map_of_the_public_code():
    """kornia's ZCAWhitening, as trajectory matching calls it: an SVD of the covariance over n − 1, ε = 0.1 inside."""
    x = torch.rand(40, 2, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flat = x.flatten(1) - x.flatten(1).mean(0)
    U, S, _ = torch.linalg.svd(flat.T @ flat / 39)
    W = U @ torch.diag(1 / torch.sqrt(S + 0.1)) @ U.T
    found = Whitening.fit(x)
    torch.testing.assert_close(found(x).flatten(1), flat @ W)
    torch.testing.assert_close(found.undo(found(x)), x)


def test_both_splits_are_whitened_by_the_training_split():
    data = wb.data.load("digits")
    white = whitened(data)
    raw = data.test.inputs * data.test.std + data.test.mean
    torch.testing.assert_close(white.test.inputs, white.train.whitening(raw))
    torch.testing.assert_close(white.train.inputs.mean(0), torch.zeros(1, 8, 8), atol=1e-5, rtol=0)
    assert white.train.take(slice(3)).whitening is white.train.whitening
    with pytest.raises(DataError, match="whitened already"):
        whitened(white)
    with pytest.raises(DataError, match="eps=0 must be positive"):
        whitened(data, eps=0)
    with pytest.raises(DataError, match="renormalise the data before"):
        white.renormalise([0.0], [1.0])


def test_a_distilled_set_is_shown_unwhitened_after_a_file(tmp_path):
    data = wb.data.load("digits")
    white = whitened(data)
    one = condense(white, Random(ipc=1), progress=False)
    again = records.open(one.save(tmp_path / "set.safetensors"))
    rows = torch.tensor([int((data.train.index == i).nonzero()) for i in one.source])
    expected = data.train.inputs[rows] * data.train.std + data.train.mean
    torch.testing.assert_close(again.raw(), expected, atol=1e-4, rtol=0)
    assert (again.pictures().int() - (255 * expected).round().int()).abs().max() <= 1
    with pytest.raises(
        ValueError, match="was distilled from images whitened, and those of data 'digits' are not whitened"
    ):
        evaluate(one, data, "mlp", seeds=1, epochs=1, progress=False)


def test_it_distils_and_teaches():
    white = whitened(wb.data.load("digits"))
    one = condense(white, DistributionMatching(ipc=1, real_batch=8, options={"width": 4}), iterations=2, progress=False)
    score = evaluate(one, white, "mlp", seeds=1, epochs=200, references=False, progress=False)
    assert score.mean() > 0.2
