"""Runs the benchmarks, prints their figures as a table and writes BENCHMARKS.md.

    python bench/run.py [--quick] [NAME …]

A benchmark is a module ``bench_NAME.py`` with ``rows(quick)``, a list of {name, value, unit, target, met}. Each runs in
a process of its own, so that none inherits another's threads, memory or imports. `target` is text, empty where the
figure is only reported; `met` is then None. With names, their rows are replaced in BENCHMARKS.md and the others stay,
if those were measured on the same machine with the same packages; else nothing is written.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "BENCHMARKS.md"
ONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
print("\\n" + json.dumps(__import__(sys.argv[2]).rows(quick={quick})))
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", metavar="NAME", help=f"{', '.join(names())} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes; writes nothing")
    options = parser.parse_args(arguments)
    if unknown := set(options.only) - set(names()):
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    found: dict[str, list[dict]] = {}
    failed: dict[str, str] = {}
    for name in options.only or names():
        started = time.perf_counter()
        print(f"{name} …", end=" ", flush=True)
        done = measure(name, quick=options.quick)
        print(f"{time.perf_counter() - started:.0f} s", flush=True)
        if done.returncode:
            failed[name] = done.stderr.strip().rpartition("\n")[2]
            print(done.stderr, file=sys.stderr)
        else:
            found[name] = json.loads(done.stdout.strip().rpartition("\n")[2])
    lines = table_lines(found, failed)
    print("\n" + table(lines))
    if not options.quick:
        kept = standing() if options.only else []
        if kept is not None:
            lines += [line for line in kept if line[0] not in options.only]
            REPORT.write_text(report(sorted(lines, key=lambda line: line[0])), encoding="utf-8")
            print(f"\nwritten: {REPORT.name}")
    missed = sum(row["met"] is False for rows in found.values() for row in rows)
    print(f"\n{missed} targets missed, {len(failed)} benchmarks failed")
    return 1 if failed else 0


def names() -> list[str]:
    return sorted(path.stem.removeprefix("bench_") for path in HERE.glob("bench_*.py"))


def measure(name: str, *, quick: bool) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", ONE.format(quick=quick), str(HERE), f"bench_{name}"]
    return subprocess.run(command, capture_output=True, text=True, cwd=HERE.parent, check=False)


def table_lines(found: dict[str, list[dict]], failed: dict[str, str]) -> list[list[str]]:
    """The rows as cells of a table."""
    lines = []
    for name, rows in found.items():
        for row in rows:
            verdict = {True: "met", False: "**missed**", None: ""}[row["met"]]
            lines.append([name, row["name"], figure(row["value"], row["unit"]), str(row["target"] or ""), verdict])
    return lines + [[name, f"failed: {why}", "", "", "**failed**"] for name, why in failed.items()]


def standing() -> list[list[str]] | None:
    """The cells of the table in BENCHMARKS.md; None where there is none, or one that was measured elsewhere."""
    text = REPORT.read_text(encoding="utf-8") if REPORT.exists() else ""
    if place() not in text:
        return None
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    if strange := [row for row in rows if len(row) != 5]:
        raise ValueError(f"{REPORT.name} has a row of {len(strange[0])} cells: {strange[0]}")
    return rows[1:]


def table(lines: list[list[str]]) -> str:
    """Cells as a table in Markdown, which also reads well in a terminal."""
    lines = [["benchmark", "figure", "measured", "target", ""], *lines]
    widths = [max(len(line[i]) for line in lines) for i in range(5)]
    rule = "|".join("-" * (width + 2) for width in widths)
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([padded[0], f"|{rule}|", *padded[1:]])


def figure(value: object, unit: str) -> str:
    if isinstance(value, float):
        value = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value} {unit}".strip()


def place() -> str:
    """Where it was measured: the machine and the packages."""
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "numpy", "jupyterlab", "anywidget"))
    return f"""{processor()}, {os.cpu_count()} cores, {memory():.0f} GiB of memory, \
{platform.system()} {platform.release().split("-")[0]}, Python {platform.python_version()}, {packages}."""


def report(lines: list[list[str]]) -> str:
    return f"""# Benchmarks

Written by `make bench`; ratios are measured within one run. A target that was missed says so. Of a GPU:
[BENCHMARKS-GPU.md](BENCHMARKS-GPU.md), which `python bench/kernels_gpu.py` writes on a machine that has one.

Measured {datetime.now(UTC):%Y-%m-%d} on {place()}

{table(lines)}
"""


def processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8").splitlines() if about.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def memory() -> float:
    """GiB of the machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


if __name__ == "__main__":
    sys.exit(main())
