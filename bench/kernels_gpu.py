"""The fused kernels on a GPU: right first, then how near the machine's limits and how far ahead of the alternatives.

    python bench/kernels_gpu.py [--minutes 8] [--only NAME …] [--out FOLDER]
    TRITON_INTERPRET=1 python bench/kernels_gpu.py --dry     everything at tiny sizes in the interpreter, no figures

Needs torch and triton, no network and no installed package. First everything that is compiled is compiled, and what is
checked is checked, in as many processes as the machine has cores; then one thing after the other is timed, each part
and each library that it is compared with in a process of its own. What fails, breaks the GPU's context or runs out of
its time costs the rows it has not yet given. Writes BENCHMARKS-GPU.md and the same rows as BENCHMARKS-GPU.json. Fails
if a check does.

Times are medians of `triton.testing.do_bench`, which empties the cache before every run; memory is the allocator's peak
over what was there before. The limits are measured too: the bandwidth of a large copy, the rate of a large product.
"""

import argparse
import importlib.metadata
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

sys.path.insert(0, str(Path(__file__).resolve().parent))  # bench_kernels makes a bare checkout importable

import gpu_parts
import torch
from bench_kernels import row
from gpu_measuring import DRY, NAMES, ceilings, has
from gpu_parts import PARTS
from run import table, table_lines

from workbench.kernels import dispatch

HERE = Path(__file__).resolve().parent
REPORT = "BENCHMARKS-GPU"
AT_ONCE = 0.35
"""Share of the time that compiling and checking may take."""

LARGE = {("divergence", "figures"): 3, ("ensemble", "figures"): 3}
"""What takes several times as long as the rest."""


@dataclass(frozen=True)
class Job:
    """A process: a part's ``checks``, its ``figures``, or a library that it is compared with."""

    part: str
    step: str

    @property
    def name(self) -> str:
        how = {"checks": "checks of ", "figures": ""}.get(self.step, f"{NAMES.get(self.step)} beside ")
        return how + self.part

    def rows(self) -> Iterator[dict]:
        part = PARTS[self.part]
        if self.step == "checks":
            return part.checked()
        return part.figures() if self.step == "figures" else part.library(self.step)

    def command(self, *options: str) -> list[str]:
        script = str(Path(__file__).resolve())
        return [sys.executable, "-X", "faulthandler", script, "--job", self.part, self.step, *options]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="ends in this time, whatever is left (default 8)")
    parser.add_argument("--only", nargs="*", choices=[*PARTS], default=[*PARTS], metavar="NAME", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, default=HERE.parent, help="folder of the report")
    parser.add_argument("--dry", action="store_true", help="tiny sizes in Triton's interpreter, without timing")
    parser.add_argument("--job", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--warm", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--limits", type=json.loads, default=[1.0, 1.0], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.job:
        gpu_parts.LIMITS[:] = options.limits
        for one in Job(*options.job).rows():
            print(MARK + json.dumps(one), flush=True)
        # Not by way of what waits for the compiler's idle workers: that took half a minute.
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(0)
    missing = ready()
    if missing:
        print(missing, file=sys.stderr)
        return 2
    found = measured(options.only, time.monotonic() + 60 * options.minutes)
    write(found, options.out)
    wrong = [one["name"] for one in found if one["met"] is False and one["name"].startswith("check")]
    print(f"\n{len(wrong)} checks failed" + "".join(f"\n  {name}" for name in wrong))
    return 1 if wrong else 0


MARK = "row: "
"""Before a row of a process, which prints it when it has it; libraries print other things."""


def ready() -> str:
    """What is missing, empty where nothing is."""
    if DRY:
        return "" if dispatch.INTERPRETED else "--dry runs in Triton's interpreter: set TRITON_INTERPRET=1"
    if not torch.cuda.is_available():
        return "there is no GPU that torch sees; --dry runs everything at tiny sizes without one"
    return "" if dispatch.available() else "Triton is not installed"


def measured(only: Sequence[str], until: float) -> list[dict]:
    """The rows of all parts; in this process where nothing is timed."""
    name = "dry run" if DRY else torch.cuda.get_device_name()
    copy, product = (1.0, 1.0) if DRY else ceilings()
    if not DRY:
        torch.cuda.empty_cache()  # the parts' processes need it
    limits = [
        row(f"{name}: a copy of 1 GiB", "not measured" if DRY else copy / 1e12, "" if DRY else "TB/s"),
        row(f"{name}: a bf16 product of 8,192³", "not measured" if DRY else product / 1e12, "" if DRY else "TFLOP/s"),
    ]
    absent = [
        row(f"{part}: times faster than {NAMES[package]} (not installed)", "not measured", "")
        for part in only
        for package in PARTS[part].packages
        if DRY or not has(package)
    ]
    if DRY:
        return [*limits, *(one for part in only for one in _here(part)), *absent]
    checks = [Job(part, "checks") for part in only if PARTS[part].checks]
    timed = [Job(part, "figures") for part in only]
    libraries = [Job(part, package) for part in only for package in PARTS[part].packages if has(package)]
    started = time.monotonic()
    found = _at_once(checks, [*timed, *libraries], started + AT_ONCE * (until - started))
    print(f"compiling and checking: {time.monotonic() - started:.0f} s", flush=True)
    queue = [*timed, *libraries]
    for place, job in enumerate(queue):
        started = time.monotonic()
        left = until - started
        # Its share of what is left, and as much again: most need less than theirs.
        weights = [LARGE.get((each.part, each.step), 1) for each in queue[place:]]
        share = max(1.0, min(left, 2 * left * weights[0] / sum(weights)))
        found[job] = apart(job.name, job.command("--limits", json.dumps([copy, product])), share)
        print(f"{job.name}: {time.monotonic() - started:.0f} s", flush=True)
    order = [job for part in only for job in [*checks, *timed, *libraries] if job.part == part]
    return [*limits, *(one for job in order for one in found[job]), *absent]


def _here(part: str) -> list[dict]:
    """A part's rows in this process, up to one that says why there are no more."""
    found = []
    try:
        for step in ("checks", "figures"):
            found += list(Job(part, step).rows())
    except Exception as error:  # noqa: BLE001 - the others are to run
        found.append(row(f"check of {part}: {type(error).__name__}: {error}", "failed", "", "runs", met=False))
    return found


class Child:
    """A process whose output goes into files, so that it is there when the process is not any more."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.out: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process's rows
        self.errors: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.started = time.monotonic()
        self.process = subprocess.Popen(command, stdout=self.out, stderr=self.errors, text=True)

    def rows(self, until: float) -> list[dict]:
        """What it gave, and why it gave no more if it ended badly or was out of time."""
        why = ""
        try:
            code = self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            code, why = 0, f"out of time after {time.monotonic() - self.started:.0f} s"
        self.out.seek(0), self.errors.seek(0)
        told, errors = self.out.read(), self.errors.read()
        self.out.close(), self.errors.close()
        lines = [line for line in told.splitlines() if line.startswith(MARK) and line.endswith("}")]
        found = [json.loads(line.removeprefix(MARK)) for line in lines]
        if why:
            found.append(row(f"{self.name}: {why}", "not measured", ""))
        elif code:
            print(f"{self.name}:\n{errors[-4000:]}", file=sys.stderr)
            found.append(row(f"check of {self.name}: {ended(code, errors)}", "failed", "", "runs", met=False))
        return found


def apart(name: str, command: list[str], seconds_left: float) -> list[dict]:
    """The rows that a process gave in its time."""
    return Child(name, command).rows(time.monotonic() + seconds_left)


def ended(code: int, errors: str) -> str:
    """Why a process ended: the signal or exit code, and the line of its last exception if there was one."""
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    raised = re.findall(
        r"^(?:\w+\.)*\w*(?:Error|Exception|Interrupt|Exit)\b.*|^Fatal Python error.*", errors, re.MULTILINE
    )
    return f"{how}: {raised[-1][:200]}" if raised else how


def _at_once(checks: list[Job], others: list[Job], until: float) -> dict[Job, list[dict]]:
    """The checks' rows; the others are only compiled: what they give, and why they fail, is for when they are timed."""
    waiting = [*((job, job.command()) for job in checks), *((job, job.command("--warm")) for job in others)]
    running: dict[Job, Child] = {}
    found: dict[Job, list[dict]] = {}
    while waiting or running:
        while waiting and len(running) < max(2, (os.cpu_count() or 2) - 2):
            job, command = waiting.pop(0)
            running[job] = Child(job.name, command)
        ended_ = [job for job, child in running.items() if child.process.poll() is not None]
        if time.monotonic() > until:
            ended_ = list(running)
            found |= {job: [row(f"{job.name}: out of time", "not measured", "")] for job, _ in waiting if job in checks}
            waiting = []
        for job in ended_:
            child = running.pop(job)
            if job in checks:
                found[job] = child.rows(time.monotonic())
            elif child.process.poll() is None:
                child.process.kill()
                child.process.wait()
        time.sleep(0.05)
    return found


def write(found: list[dict], folder: Path) -> None:
    versions = {name: version(name) for name in ("torch", "triton", "liger-kernel", "pykeops")}
    told = ", ".join(f"{name} {number}" for name, number in versions.items())
    lines = table(table_lines({"kernels": found}, {}))
    if DRY:
        heading = "# A dry run\n\nIn Triton's interpreter, at tiny sizes: nothing here is a measurement."
    else:
        heading = f"# Kernels on {torch.cuda.get_device_name()}\n\nMeasured {datetime.now(UTC):%Y-%m-%d}."
    text = f"{heading} Written by `python bench/kernels_gpu.py`; {told}; Python {sys.version.split()[0]}.\n\n{lines}\n"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{REPORT}.md").write_text(text, encoding="utf-8")
    (folder / f"{REPORT}.json").write_text(json.dumps({"versions": versions, "rows": found}, indent=1), "utf-8")
    print("\n" + lines)


def version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def rows(quick: bool = False) -> list[dict]:
    """For `bench_kernels`: all of it, or in half the time."""
    return measured([*PARTS], time.monotonic() + (240 if quick else 480))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
