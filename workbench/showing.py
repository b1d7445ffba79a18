"""How the command shows things: a study's result, tables with aligned columns, sizes; and how it keeps a result."""

import json
import math
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from workbench.records import StudyResult


def save(result: "StudyResult", path: Path, *, quiet: bool) -> bool:
    """Keep the result at `path`, or where something can be written; whether it is at `path`."""
    name = f"workbench-paper-{result.paper:03d}-{os.getpid()}.safetensors"
    for place in (path, Path.cwd() / name, Path(tempfile.gettempdir()) / name):
        try:
            result.save(place)
        except OSError as error:
            print(f"workbench: {place} cannot be written ({error})", file=sys.stderr)
            continue
        where = sys.stderr if quiet or place != path else sys.stdout
        print(f"\nsaved: {place}  (workbench open {place})", file=where)
        return place == path
    return False


def print_result(result: "StudyResult", *, rows: bool) -> None:
    """Print what a study found: means over its seeds or every row, what it deviates in, and its claims."""
    print(f"Paper {result.paper:03d}: {result.title}\n")
    whole, summary = result.to_frame(), result.over_seeds()
    if rows or len(summary) == len(whole):
        print(table(whole, max_rows=None if rows else 60))
    else:
        print(table(_with_intervals(summary)))
        print(f"\nMeans over the seeds, ± half the 95 % interval; {len(whole):,} rows in all (--rows shows them).")
    if result.notes:
        print(f"\n{result.notes}")
    for place, what in enumerate(result.deviations):
        print(f"{'differs from the paper:' if place == 0 else '                       '} {what}")
    if result.cost:
        print(f"\nThe full budget: {result.cost}")
    if result.made_on:
        print(f"\nMargins were set on {result.made_on}: on other data, as here, no claim is asserted.")
    print()
    for claim in result.claims:
        print(f"{'asserted' if claim.asserted else 'reported'}  {claim.summary()}")
    some = any(claim.asserted for claim in result.claims)
    holding = "all asserted claims hold" if some else "no claim is asserted here"
    print(f"\n{holding if result.passed else 'an asserted claim fails'}")


def as_dict(result: "StudyResult") -> dict[str, Any]:
    """The result as JSON values, its rows whole."""
    return {
        "paper": result.paper,
        "title": result.title,
        "passed": result.passed,
        "claims": json.loads(result.claims_frame().to_json(orient="records")),
        "table": json.loads(result.to_frame().to_json(orient="records")),
        "settings": {name: str(value) for name, value in result.settings.items()},
        "deviations": list(result.deviations),
        "cost of the full budget": result.cost,
        "margins set on": result.made_on,
        "notes": result.notes,
        "seconds": result.provenance.wall_time,
    }


def table(rows: "pd.DataFrame", max_rows: int | None = 60) -> str:
    """A data frame as text, numbers to four digits."""
    return rows.to_string(index=False, float_format=lambda value: f"{value:.4g}", max_rows=max_rows)


def aligned(header: Sequence[str], rows: Iterable[Sequence[Any]], stream: Any) -> str:
    """A table with columns as wide as their widest entry; on a terminal lines are cut to its width."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [min(max(len(line[i]) for line in lines), 34) for i in range(len(header) - 1)]
    limit = os.get_terminal_size().columns if stream.isatty() else sys.maxsize
    padded = [[_cut(cell, width).ljust(width) for cell, width in zip(line[:-1], widths, strict=True)] for line in lines]
    return "\n".join("  ".join([*cells, line[-1]])[:limit] for cells, line in zip(padded, lines, strict=True))


def size(of: float) -> str:
    """A number of bytes in words."""
    for unit in ("B", "kB", "MB"):
        if of < 1000:
            return f"{of:.0f} {unit}"
        of /= 1000
    return f"{of:.1f} GB"


def _with_intervals(summary: "pd.DataFrame") -> "pd.DataFrame":
    """Mean and half width of each measure in one column."""
    shown = summary.copy()
    for name in [name for name in summary if f"± {name}" in summary]:
        pairs = zip(summary[name], summary[f"± {name}"], strict=True)
        shown[name] = [f"{mean:.4g}" + ("" if math.isnan(half) else f" ± {half:.2g}") for mean, half in pairs]
    return shown.drop(columns=[name for name in summary if str(name).startswith("± ")])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
