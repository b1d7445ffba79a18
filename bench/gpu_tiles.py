"""Which tiles are fastest on this GPU: times each one that could be, one constant after the other.

    python bench/gpu_tiles.py [--write]        prints; writes the fastest into the kernels' modules

A constant changes the order of sums, so it is chosen here, once, and not while a program runs: equal inputs are to give
equal bits.
"""

import importlib
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import gpu_parts
from gpu_measuring import Run, seconds

from workbench.kernels.fused.distances import Tiles

FUSED = "workbench.kernels.fused"
MANY = tuple(Tiles(*each) for each in ((128, 64, 8), (64, 64, 4), (64, 128, 8), (128, 32, 8), (128, 32, 4)))
FEW = tuple(Tiles(*each) for each in ((16, 128, 8), (16, 64, 4), (32, 128, 8), (8, 128, 8), (16, 32, 2), (8, 64, 4)))


def tried() -> dict[tuple[str, str], tuple[Run, tuple[object, ...]]]:
    """Module and constant: what is timed, and what the constant could be."""
    few, many = gpu_parts.sums()
    plane, wide = gpu_parts.teachers()
    (image,), (phases,) = gpu_parts.images(), gpu_parts.characteristics()
    return {
        ("kernel_sums", "FEATURES_FEW"): (few.mine, FEW),
        ("kernel_sums", "FEATURES_MANY"): (many.mine, MANY),
        ("mixture", "FEATURES_FEW"): (plane.mine, FEW),
        ("mixture", "BACK_FEW"): (plane.mine, FEW),
        ("mixture", "FEATURES_MANY"): (wide.mine, MANY),
        ("mixture", "BACK_MANY"): (wide.mine, MANY),
        ("augment", "PER_WARP"): (image.mine, (128, 64, 256)),
        ("characteristic", "ROWS"): (phases.mine, (16, 8, 32)),
    }


def main() -> None:
    for (name, constant), (run, candidates) in tried().items():
        module = importlib.import_module(f"{FUSED}.{name}")
        found = {}
        for candidate in candidates:
            setattr(module, constant, candidate)
            try:
                found[candidate] = 1e3 * seconds(run)
            except Exception as error:  # noqa: BLE001 - too large for the machine
                print(f"{name}.{constant} = {candidate}: {type(error).__name__}: {str(error)[:100]}", flush=True)
        best = min(found, key=lambda each: found[each])
        setattr(module, constant, best)
        told = ", ".join(f"{_plain(each)}: {taken:.3f} ms" for each, taken in found.items())
        print(f"{name}.{constant} = {_plain(best)}    of {told}", flush=True)
        if "--write" in sys.argv:
            path = Path(module.__file__ or "")
            text, count = re.subn(
                rf"^{constant} = .*$", f"{constant} = {_plain(best)}", path.read_text(), flags=re.MULTILINE
            )
            if count != 1:
                raise ValueError(f"{path} says {count} times what {constant} is")
            path.write_text(text, encoding="utf-8")


def _plain(value: object) -> str:
    return f"Tiles({', '.join(map(str, value))})" if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main()
