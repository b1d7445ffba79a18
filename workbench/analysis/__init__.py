"""Looking at trained networks: how similar, how calibrated, how faithful, and which example it hangs on."""

from workbench.analysis.cka import cka
from workbench.analysis.hsic_sums import HSICSums
from workbench.analysis.layers import default_layers

__all__ = ["HSICSums", "cka", "default_layers"]
