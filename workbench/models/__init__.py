"""Networks by name, and the means to look at the layers of any network."""

from workbench.models.outputs import Outputs

__all__ = ["Outputs"]
