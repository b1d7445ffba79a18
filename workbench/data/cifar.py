"""Read CIFAR-10 and CIFAR-100 from their python batches without trusting them: they are pickles, which can run code."""

import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from workbench.data.assemble import Part
from workbench.data.plain_arrays import MAKERS, Numbers
from workbench.data.plain_pickle import DamagedError, PlainReader, RefusedError
from workbench.data.sampling import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FINE = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm"
)  # fmt: skip
COARSE = (
    "aquatic_mammals", "fish", "flowers", "food_containers", "fruit_and_vegetables", "household_electrical_devices",
    "household_furniture", "insects", "large_carnivores", "large_man-made_outdoor_things",
    "large_natural_outdoor_scenes", "large_omnivores_and_herbivores", "medium_mammals", "non-insect_invertebrates",
    "people", "reptiles", "small_mammals", "trees", "vehicles_1", "vehicles_2"
)  # fmt: skip
LARGEST_BATCH = 512 * 2**20
"""Bytes of one batch, unpacked; the largest real one (the training images of CIFAR-100) has 155 million."""


@dataclass(frozen=True)
class Layout:
    """Where a kind of CIFAR lies, and what its batches call their labels."""

    folder: str
    archive: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    classes: tuple[str, ...]

    @property
    def batches(self) -> tuple[str, ...]:
        """Names of all batches."""
        return (*self.train, *self.test)

    @property
    def files(self) -> tuple[str, ...]:
        """What a folder must hold: the archive as it is distributed, or the folder in it."""
        return (self.archive, f"{self.folder}/ ({', '.join(self.batches)})")


_TENS = tuple(f"data_batch_{i}" for i in range(1, 6))
_HUNDREDS = ("cifar-100-python", "cifar-100-python.tar.gz", ("train",), ("test",))
LAYOUTS: Mapping[str, Layout] = {
    "cifar10": Layout("cifar-10-batches-py", "cifar-10-python.tar.gz", _TENS, ("test_batch",), "labels", CLASSES),
    "cifar100": Layout(*_HUNDREDS, "fine_labels", FINE),
    "cifar100-coarse": Layout(*_HUNDREDS, "coarse_labels", COARSE),
}


def read_cifar(name: str, root: Path) -> tuple[Part, Part]:
    """The train and test part of ``"cifar10"``, ``"cifar100"`` or ``"cifar100-coarse"``.

    `root` holds the archive as it is distributed, or its unpacked folder, or is one of them.

    Raises
    ------
    DataError
        A file is missing, damaged, would run code, or holds a label outside the classes; the message names file and
        row.
    """
    layout = LAYOUTS[name]
    batches = _batch_bytes(root, layout)
    parts = []
    for names in (layout.train, layout.test):
        pieces = [_batch(*batches[name], layout) for name in names]
        images = np.concatenate([images for images, _ in pieces])
        labels = np.concatenate([labels for _, labels in pieces])
        parts.append(Part(torch.from_numpy(images), torch.from_numpy(labels), torch.arange(len(labels))))
    return parts[0], parts[1]


def _batch_bytes(root: Path, layout: Layout) -> dict[str, tuple[str, bytes]]:
    """Each batch's name → where it lies, and its bytes."""
    for folder in (root, root / layout.folder):
        if (folder / layout.batches[0]).is_file():
            missing = [name for name in layout.batches if not (folder / name).is_file()]
            if missing:
                raise DataError(f"{folder} lacks {', '.join(missing)}")
            return {name: (str(folder / name), _file_bytes(folder / name)) for name in layout.batches}
    archive = root if root.is_file() else root / layout.archive
    if not archive.is_file():
        raise DataError(f"{root} holds neither {layout.archive} nor {layout.folder}/")
    found = {}
    passed = 0
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                passed += member.size  # what is passed over is unpacked too
                _check_size(str(archive), passed)
                name = Path(member.name).name
                stream = tar.extractfile(member) if name in layout.batches and member.isreg() else None
                if stream is not None:
                    _check_size(f"{archive}:{member.name}", member.size)
                    found[name] = (f"{archive}:{member.name}", stream.read())
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001 - damaged archives fail in ways that cannot be listed
        raise DataError(f"{archive} is not a complete tar.gz ({error}): copy or download it again") from None
    missing = [name for name in layout.batches if name not in found]
    if missing:
        raise DataError(f"{archive} lacks {', '.join(missing)}")
    return found


def _file_bytes(path: Path) -> bytes:
    try:
        _check_size(str(path), path.stat().st_size)
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error})") from None


def _check_size(where: str, size: int) -> None:
    if size > LARGEST_BATCH:
        raise DataError(f"{where} has {size / 2**20:,.0f} MiB: too large for a CIFAR batch")


def _batch(where: str, content: bytes, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """One batch as images uint8 (n, 3, 32, 32) and labels int64 (n,)."""
    batch = restricted_loads(content, where)
    if not isinstance(batch, dict):
        raise DataError(f"{where} holds a {type(batch).__name__}, not a CIFAR batch")
    fields = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in batch.items()}
    images, labels = fields.get("data"), fields.get(layout.labels)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != 3072:
        raise DataError(f"{where}: 'data' is not an array of bytes of shape (n, 3072)")
    if not isinstance(labels, list) or len(labels) != len(images):
        raise DataError(f"{where}: {layout.labels!r} is not a list of {len(images)} numbers, one for each image")
    most = len(layout.classes) - 1
    for row, label in enumerate(labels):
        if not isinstance(label, int) or not 0 <= label <= most:
            shown = f"{label!r:.40}" if isinstance(label, int | float | str | bytes) else f"a {type(label).__name__}"
            raise DataError(f"{where}: row {row} has label {shown}; labels are 0..{most}")
    return images.reshape(-1, 3, 32, 32), np.array(labels, dtype=np.int64)


def restricted_loads(content: bytes, where: str) -> Any:
    """Unpickle plain values and numpy arrays of plain numbers; anything else is refused.

    Raises
    ------
    DataError
        The pickle asks for something else, or is damaged.
    """
    try:
        found = PlainReader(content, MAKERS).load()
    except RefusedError as error:
        raise DataError(
            f"{where} is refused: it {error}. A CIFAR batch holds plain values and numpy arrays, and nothing else is "
            "read"
        ) from None
    except DamagedError as error:
        raise DataError(f"{where} is damaged or is no CIFAR batch ({error})") from None
    if isinstance(found, dict):
        return {key: value.array if isinstance(value, Numbers) else value for key, value in found.items()}
    return found.array if isinstance(found, Numbers) else found
