"""Downloads: made once, checked, and explained when they cannot be made. No network is used here."""

from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import sklearn.datasets
import torch

from workbench.data import DataError, cache_dir, load, openml

SMALL = openml.Source(1, (1, 4, 4), (3,) * 10, (1,) * 10)


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A tiny dataset under the name of MNIST, served in place of OpenML; counts the downloads."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(openml.SOURCES, "mnist", SMALL)
    labels = np.concatenate([np.repeat(np.arange(10), 3), np.arange(10)])
    server = SimpleNamespace(
        calls=0,
        error=None,
        bunch=SimpleNamespace(data=np.arange(40 * 16).reshape(40, 16) % 256, target=labels.astype(str)),
    )

    def fetch_openml(**options):
        server.calls += 1
        server.options = options
        if server.error:
            raise server.error
        return server.bunch

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch_openml)
    return server


def test_a_download_is_made_once_and_then_read_from_the_cache(served):
    first = load("mnist")
    second = load("mnist")
    assert served.calls == 1
    assert served.options["data_id"] == 1
    assert served.options["data_home"] == str(cache_dir())
    assert torch.equal(first.train.inputs, second.train.inputs)
    assert (len(first.train), len(first.test)) == (30, 10)
    assert first.train.images()[0, 0].flatten().tolist() == list(range(16))
    assert [p.name for p in cache_dir().iterdir()] == ["mnist.safetensors"]


def test_without_a_network_the_message_says_which_files_to_put_where(served):
    served.error = URLError("no route to host")
    with pytest.raises(DataError) as caught:
        load("mnist")
    for part in ("no route to host", "train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "root=FOLDER"):
        assert part in str(caught.value)


def test_an_interrupted_download_is_taken_up_again(served):
    served.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        load("mnist")
    served.error = None
    assert len(load("mnist").train) == 30


def test_a_checksum_that_differs_is_reported(served):
    served.error = ValueError("md5 checksum of local file does not match description")
    with pytest.raises(DataError, match="arrived damaged from OpenML"):
        load("mnist")


def test_an_interruption_while_keeping_leaves_no_half_file(served, monkeypatch):
    def broken(tensors, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(openml, "save_file", broken)
    with pytest.raises(KeyboardInterrupt):
        load("mnist")
    assert list(cache_dir().iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((40, 9))}, r"shape \(40, 9\)"),
        ({"data": np.zeros((39, 16)), "target": np.zeros(39)}, "39 images"),
        ({"target": np.array(["?"] * 40)}, "labels that are no numbers"),
        ({"target": np.arange(40) % 10 * 0}, "official numbers of images per class"),
    ],
)
def test_what_arrives_is_checked_before_it_is_kept(served, change, message):
    vars(served.bunch).update(change)
    with pytest.raises(DataError, match=message):
        load("mnist")
    assert not (cache_dir() / "mnist.safetensors").exists()


def test_a_damaged_cache_says_what_to_delete(served):
    load("mnist")
    kept = cache_dir() / "mnist.safetensors"
    kept.write_bytes(kept.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"mnist\.safetensors is damaged .*: delete it"):
        load("mnist")


def test_the_cache_is_where_the_platform_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("WORKBENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(openml.sys, "platform", "linux")
    assert cache_dir() == tmp_path / "distillation-workbench"
    monkeypatch.setattr(openml.sys, "platform", "darwin")
    assert cache_dir().parent.name == "Caches"
    monkeypatch.setattr(openml.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache_dir() == tmp_path / "local" / "distillation-workbench"
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine"


def test_the_official_counts_add_up():
    totals = {name: (sum(s.train_counts), sum(s.test_counts)) for name, s in openml.SOURCES.items()}
    assert totals == {"mnist": (60000, 10000), "fashion-mnist": (60000, 10000), "cifar10": (50000, 10000)}
