"""Data to distil with: every loader returns a `Dataset` of normalised tensors, with nothing hidden in it."""

from workbench.data.assemble import from_arrays
from workbench.data.dataset import UNLABELLED, Dataset, Loader, Split
from workbench.data.digits import digit_pairs
from workbench.data.doors import as_dataset, as_split
from workbench.data.folder import image_folder
from workbench.data.identity import fingerprint
from workbench.data.instructions import instructions
from workbench.data.label_spaces import label_spaces, relabelled
from workbench.data.loading import load, names
from workbench.data.mirroring import mirrored
from workbench.data.openml import cache_dir
from workbench.data.sampling import DataError
from workbench.data.scenes import digit_scenes
from workbench.data.sound import SoundSplit, sounds
from workbench.data.tabular import table
from workbench.data.text import TextSplit, from_pairs, text
from workbench.data.unlabelled import beside, joined, unlabelled
from workbench.data.vocabulary import Vocabulary
from workbench.data.web_pool import WebPool, web_pool
from workbench.data.whitening import Whitening, whitened

__all__ = [
    "UNLABELLED",
    "DataError",
    "Dataset",
    "Loader",
    "SoundSplit",
    "Split",
    "TextSplit",
    "Vocabulary",
    "WebPool",
    "Whitening",
    "as_dataset",
    "as_split",
    "beside",
    "cache_dir",
    "digit_pairs",
    "digit_scenes",
    "fingerprint",
    "from_arrays",
    "from_pairs",
    "image_folder",
    "instructions",
    "joined",
    "label_spaces",
    "load",
    "mirrored",
    "names",
    "relabelled",
    "sounds",
    "table",
    "text",
    "unlabelled",
    "web_pool",
    "whitened",
]
