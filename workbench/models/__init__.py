"""Networks by name, and the means to look at the layers of any network."""

from workbench.models.building import build, denoiser_names, from_spec, language_names, names, speech_names
from workbench.models.checkpoints import CheckpointError, load_checkpoint
from workbench.models.layers import LayerNameError, layer_names
from workbench.models.observing import LayerOutputError, Observer, observe
from workbench.models.outputs import Outputs

__all__ = [
    "CheckpointError",
    "LayerNameError",
    "LayerOutputError",
    "Observer",
    "Outputs",
    "build",
    "denoiser_names",
    "from_spec",
    "language_names",
    "layer_names",
    "load_checkpoint",
    "names",
    "observe",
    "speech_names",
]
