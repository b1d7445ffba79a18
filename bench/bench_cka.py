"""CKA between ResNet-56 and ResNet-20 on CIFAR-10 images, against torch-cka, ckatorch and the cost of looking at all.

    python bench/bench_cka.py [--quick] [--shared DIR]

With the public checkpoints and `cifar10-12k.zip` in DIR (or in $WORKBENCH_SHARED) those are used; else networks with
random weights on random images, and the rows say so. The contenders take turns, so that a busy machine slows all alike.
"""

import argparse
import copy
import io
import json
import os
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

import workbench as wb

BATCH = 250
LAYERS = "layer?.*"
THREADS = 2
MEBIBYTE = 2**20


def rows(quick: bool = False, shared: str | None = None) -> list[dict]:
    """Rows of the table that `make bench` prints: name, value, unit, target, met."""
    torch.set_num_threads(THREADS)
    count, rounds = (500, 1) if quick else (1000, 3)
    first, second, images, origin = subjects(count, shared)
    where = f"{count:,} {origin}, batches of {BATCH}, {THREADS} threads"
    contenders: dict[str, Callable[[], Tensor]] = {
        "workbench": lambda: ours(first, second, images),
        "passes": lambda: passes_and_grams(first, second, images),
        "forwards": lambda: forwards(first, second, images),
    }
    missing = {}
    for name, contender in (("torch-cka", torch_cka), ("ckatorch", ckatorch)):
        try:
            contenders[name] = contender(first, second, images)
        except ImportError as error:
            missing[name] = f"not measured: {error}"
    once = {"ckatorch"}  # takes minutes
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    values: dict[str, Tensor] = {}
    ours(first, second, images[:BATCH])  # the first pass allocates and chooses algorithms
    for turn in range(rounds):
        for name, run in contenders.items():
            if turn and name in once:
                continue
            started = time.perf_counter()
            values[name] = run()
            seconds[name].append(time.perf_counter() - started)
    took = {name: median(each) for name, each in seconds.items()}

    def row(name: str, value: float | str, unit: str, target: str, met: bool | None) -> dict:
        return {"name": f"{name} ({where})", "value": value, "unit": unit, "target": target, "met": met}

    table = [row("cka, ResNet-56 (27 blocks) × ResNet-20 (9 blocks)", round(took["workbench"], 2), "s", "", None)]
    for name in ("torch-cka", "ckatorch"):
        what = f"cka: times faster than {name}"
        if name in missing:
            table.append(row(what, missing[name], "×", "≥ 5", None))
        else:
            ratio = took[name] / took["workbench"]
            table.append(row(f"{what} ({took[name]:.1f} s)", round(ratio, 1), "×", "≥ 5", ratio >= 5))
    if "torch-cka" in took:
        most = took["torch-cka"] / took["forwards"]
        what = (
            f"cka: torch-cka's time over the two forward passes alone ({took['forwards']:.1f} s), the most one can gain"
        )
        table.append(row(what, round(most, 1), "×", "", None))
    if "torch-cka" in values:
        single = float((values["workbench"] - values["torch-cka"]).abs().max())
        off, own = exact(first, second, images[:BATCH])
        table.append(
            row("cka: largest difference to torch-cka in float64, one batch", f"{off:.1e}", "", "≤ 1e-4", off <= 1e-4)
        )
        table.append(row("cka: largest difference to torch-cka in float32", f"{single:.1e}", "", "", None))
        table.append(row("torch-cka's own rounding: float32 against float64, one batch", f"{own:.1e}", "", "", None))
    share = took["workbench"] / took["passes"]
    what = f"cka: time over two forward passes + one Gram product per layer and batch ({took['passes']:.1f} s)"
    table.append(row(what, round(share, 2), "×", "≤ 1.25", share <= 1.25))
    for n in (1000, 2400):
        peak = peak_memory(n, shared)
        what = f"cka: peak memory over models and images, n = {n:,}"
        table.append({"name": what, "value": round(peak), "unit": "MiB", "target": "≤ 1024", "met": peak <= 1024})
    return table


def subjects(count: int, shared: str | None = None) -> tuple[nn.Module, nn.Module, Tensor, str]:
    """ResNet-56, ResNet-20, `count` images normalised as the checkpoints expect, and what they are."""
    networks = [wb.models.build(name, ((3, 32, 32), 10)).eval() for name in ("resnet56", "resnet20")]
    folder = Path(shared or os.environ.get("WORKBENCH_SHARED", "."))
    files = [folder / "resnet56-4bfd9763.th", folder / "resnet20-12fca82f.th", folder / "cifar10-12k.zip"]
    if not all(file.is_file() for file in files):
        make = torch.Generator().manual_seed(0)
        return *networks, torch.randn(count, 3, 32, 32, generator=make), "random images, random weights"
    for network, file in zip(networks, files[:2], strict=True):
        wb.models.load_checkpoint(network, file)
    return *networks, cifar(files[2], count), "CIFAR-10 images, public checkpoints"


def cifar(archive: Path, count: int) -> Tensor:
    """`count` images, as many of each class as can be, shuffled; shape (count, 3, 32, 32)."""
    import numpy as np
    from PIL import Image

    with zipfile.ZipFile(archive) as file:
        names = [name for name in file.namelist() if name.startswith("train/") and name.endswith(".jpg")]
        order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))
        pixels = [np.asarray(Image.open(io.BytesIO(file.read(names[i])))) for i in order[:count].tolist()]
    raw = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(each)[:, None, None] for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return ((raw - mean) / std).contiguous()


def ours(first: nn.Module, second: nn.Module, images: Tensor) -> Tensor:
    found = wb.analysis.cka(
        first, second, images, layers_a=LAYERS, layers_b=LAYERS, batch_size=BATCH, seed=None, progress=False
    )
    return found.values


@torch.no_grad()
def passes_and_grams(first: nn.Module, second: nn.Module, images: Tensor) -> Tensor:
    """What every such comparison must do at least."""

    def hook(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        flat = output.flatten(1)
        torch.mm(flat, flat.T)

    handles = [
        network.get_submodule(name).register_forward_hook(hook)
        for network in (first, second)
        for name in wb.models.layer_names(network, LAYERS)
    ]
    for batch in images.split(BATCH):
        first(batch)
        second(batch)
    for handle in handles:
        handle.remove()
    return torch.empty(0)


def forwards(first: nn.Module, second: nn.Module, images: Tensor) -> Tensor:
    """The two forward passes and nothing else; the last batch's logits."""
    with torch.inference_mode():
        for batch in images.split(BATCH):
            first(batch)
            logits = second(batch)
    return logits


def loader(images: Tensor) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images), batch_size=BATCH)


def torch_cka(first: nn.Module, second: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    from torch_cka import CKA

    def run() -> Tensor:
        with warnings.catch_warnings(), torch.no_grad():  # it would record a graph otherwise
            warnings.simplefilter("ignore")
            names = [list(wb.models.layer_names(network, LAYERS)) for network in (first, second)]
            compared = CKA(first, second, "a", "b", *names)
            compared.compare(loader(images))
            _unhook(first, second)
            return compared.export()["CKA"]

    return run


def exact(first: nn.Module, second: nn.Module, images: Tensor) -> tuple[float, float]:
    """Differences to torch-cka run in float64 (what its formula says): ours in float32, and its own in float32.

    It subtracts sums over uncentred Gram matrices, which in float32 costs it about three digits.
    """
    single, theirs = ours(first, second, images), torch_cka(first, second, images)()
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # it makes its constants in the default type
    try:
        double = torch_cka(*(copy.deepcopy(each).double() for each in (first, second)), images.double())()
    finally:
        torch.set_default_dtype(before)
    return float((single - double).abs().max()), float((theirs - double).abs().max())


def ckatorch(first: nn.Module, second: nn.Module, images: Tensor) -> Callable[[], Tensor]:
    """It takes features of shape (1, n, d) only: every block gets a layer that shows its output that way."""
    from ckatorch import CKA

    class Shown(nn.Module):
        def __init__(self, block: nn.Module) -> None:
            super().__init__()
            self.block, self.flat = block, nn.Flatten()
            self.shown = nn.Unflatten(0, (1, -1))

        def forward(self, x: Tensor) -> Tensor:
            out = self.block(x)
            self.shown(self.flat(out))
            return out

    def run() -> Tensor:
        networks = [copy.deepcopy(network) for network in (first, second)]
        names = []
        for network in networks:
            layers = wb.models.layer_names(network, LAYERS)
            for name in layers:
                parent, _, child = name.rpartition(".")
                setattr(network.get_submodule(parent), child, Shown(network.get_submodule(name)))
            names.append([f"{name}.shown" for name in layers])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return CKA(*networks, *names, "a", "b")(loader(images), epochs=1)

    return run


def _unhook(*networks: nn.Module) -> None:
    """torch-cka leaves its hooks behind."""
    for network in networks:
        for module in network.modules():
            module._forward_hooks.clear()


def peak_memory(count: int, shared: str | None = None) -> float:
    """Most resident memory during one `cka`, over what the process held with models and images loaded, in MiB."""
    command = [sys.executable, __file__, "--memory", str(count), *(["--shared", shared] if shared else [])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["peak"] / MEBIBYTE


def _peak(count: int, shared: str | None) -> float:
    torch.set_num_threads(THREADS)
    first, second, images, _ = subjects(count, shared)
    with torch.no_grad():  # libraries loaded, threads started
        first(images[:2]), second(images[:2])
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    ours(first, second, images)
    return _status("VmHWM") - before


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shared", help="folder with the checkpoints and cifar10-12k.zip")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        print(json.dumps({"peak": _peak(given.memory, given.shared)}))
    else:
        for each in rows(given.quick, given.shared):
            mark = {True: "met", False: "MISSED", None: ""}[each["met"]]
            print(f"{each['name']}: {each['value']} {each['unit']} {each['target']} {mark}")
