"""What pytest leaves alone: the fused kernels where Triton, which exists for Linux only, is not installed."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("triton") else ["workbench/kernels/fused/*"]
