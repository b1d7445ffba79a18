"""The ``workbench`` command: the laboratory, the catalogue, a study, a record, a check-up, from a terminal.

Exit status: 0 all is well; 1 an asserted claim or a check fails; 2 the command was misused; 70 something broke inside.
"""

import argparse
import importlib
import inspect
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__, papers

if TYPE_CHECKING:
    import pandas as pd

    from workbench.records import StudyResult

FAILED, MISUSED, BROKEN = 1, 2, 70
CHECKOUT = Path(__file__).resolve().parent.parent


class Misuse(Exception):  # noqa: N818 - it says what happened, not that the program is in error
    """The user asked for something that is not there; the message says what to ask for instead."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options, rest = _parser().parse_known_args(arguments)
    if rest and options.action is not lab:
        _parser().error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    try:
        return options.action(options)
    except Misuse as error:
        print(f"workbench: {error}", file=sys.stderr)
        return MISUSED
    except KeyboardInterrupt:
        print("workbench: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `workbench papers | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.traceback:
            raise
        refused = isinstance(error, ValueError | LookupError | OSError)  # what the library raises at its doors
        what = error if refused else f"{type(error).__name__}: {error}"
        print(f"workbench: {what} (--traceback shows where)", file=sys.stderr)
        return MISUSED if refused else BROKEN


def lab(options: argparse.Namespace) -> int:
    """Open JupyterLab on the first notebook; every further option goes to JupyterLab."""
    start = "notebooks/start.ipynb"
    here = [f"--ServerApp.root_dir={CHECKOUT}", f"--LabApp.default_url=/lab/tree/{start}"]
    where = here if (CHECKOUT / start).is_file() else []
    root = ["--allow-root"] if getattr(os, "geteuid", lambda: 1)() == 0 else []
    return subprocess.call([sys.executable, "-m", "jupyterlab", *where, *root, *options.rest])  # noqa: S603


def list_papers(options: argparse.Namespace) -> int:
    """Print the catalogue, or the part of it that the filters leave."""
    found = papers.find(family=options.family, text=options.text, built=True if options.built else None)
    if options.json:
        print(json.dumps([paper.as_dict() for paper in found], ensure_ascii=False, indent=1))
        return 0
    rows = [
        (f"{p.number:03d}", p.short, p.year, p.family, p.status, f"{p.source} → {p.signal} → {p.target}") for p in found
    ]
    print(_aligned(("no.", "paper", "year", "family", "status", "source → signal → target"), rows, sys.stdout))
    built = sum(paper.built for paper in found)
    print(f"\n{len(found)} of {len(papers.load())} papers, {built} built; `workbench run NUMBER` runs one of those.")
    return 0


def run(options: argparse.Namespace) -> int:
    """Run a paper's study, print what it found, and say whether its asserted claims hold."""
    paper = papers.get(options.number)
    if not paper.built:
        raise Misuse(
            f"paper {paper.number:03d} ({paper.short}) is not built yet; `workbench papers --built` lists what is"
        )
    study = importlib.import_module(paper.study).run
    result: StudyResult = study(**_study_settings(study, options))
    if options.save:
        result.save(options.save)
    if options.json:
        print(json.dumps(_result_as_dict(result), ensure_ascii=False, indent=1))
    else:
        _print_result(result)
        if options.save:
            print(f"\nsaved: {options.save}  (workbench open {options.save})")
    return 0 if result.passed else FAILED


def open_record(options: argparse.Namespace) -> int:
    """Say what a record file holds; with --html draw it into one page that needs nothing else."""
    from workbench import records  # noqa: PLC0415 - loads torch

    try:
        record = records.open(options.file)
    except (records.RecordError, FileNotFoundError) as error:
        raise Misuse(str(error)) from None
    print(record.summary())
    made = record.provenance
    print(f"{type(record).__name__}, seed {made.seed}, {made.device}, {made.created or 'no date'}")
    try:
        table = record.to_frame()
    except TypeError:
        table = None
    if table is not None:
        print(f"\n{_frame(table.head(options.rows))}")
        if len(table) > options.rows:
            print(f"… {len(table):,} rows in all (--rows N shows more)")
    if options.html:
        print(f"\ndrawn: {_explorer()(record).to_html(options.html) or options.html}")
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Say what this machine has and what is missing; status 1 when something is."""
    from workbench import doctor as check  # noqa: PLC0415 - only this command needs it

    findings = check.report()
    wrong = check.problems(findings)
    if options.json:
        print(json.dumps(findings | {"problems": wrong}, indent=1))
        return FAILED if wrong else 0
    for section, entries in findings.items():
        print(section)
        for name, found in entries.items():
            print(f"  {name:<14} {found}")
    print("\n" + ("\n".join(f"problem: {line}" for line in wrong) if wrong else "no problem found"))
    return FAILED if wrong else 0


def new(options: argparse.Namespace) -> int:
    """Write the files in which a paper of the catalogue is built: method, study, test, and its catalogue line."""
    from workbench import scaffold  # noqa: PLC0415 - only this command needs it

    made = scaffold.write(options.number, CHECKOUT, options.name)
    print("\n".join(["written:", *(f"  {path}" for path in made.files), "  workbench/papers.toml (one line)"]))
    print("\n".join(["left to do:", *(f"  {what}" for what in made.left), "  CONTRIBUTING.md says the rest"]))
    return 0


def bench(options: argparse.Namespace) -> int:
    """Run the benchmarks of a checkout."""
    script = CHECKOUT / "bench" / "run.py"
    if not script.is_file():
        raise Misuse("the benchmarks are in the project's checkout, not in the installed package: run them there")
    quick = ["--quick"] if options.quick else []
    return subprocess.call([sys.executable, str(script), *quick, *options.only])  # noqa: S603


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="workbench", description="See distillation: run its methods, look inside.")
    parser.add_argument("--version", action="version", version=f"workbench {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(metavar="command", required=True)

    def command(name: str, action: Any, summary: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=summary, description=action.__doc__)
        made.set_defaults(action=action)
        made.add_argument("--traceback", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return made

    command("lab", lab, "open JupyterLab on the first notebook")

    catalogue = command("papers", list_papers, "list the papers")
    catalogue.add_argument("--family", choices=list(papers.families()), help="only this family")
    catalogue.add_argument("--text", metavar="WORDS", help="only entries that hold all these words")
    catalogue.add_argument("--built", action="store_true", help="only papers with a study to run")
    catalogue.add_argument("--json", action="store_true", help="machine-readable")

    study = command("run", run, "run a paper's study and check its claims")
    study.add_argument("number", type=int, help="the paper's number")
    study.add_argument("--data", metavar="NAME|PATH", help="a data set by name, or a folder or zip of images")
    study.add_argument("--teacher", metavar="FILE|DIR", help="record of a trained model, or folder of a pipeline")
    study.add_argument("--root", metavar="DIR", help="where the data set's standard files are")
    study.add_argument("--seeds", type=_positive, metavar="K", help="how many seeds to run")
    study.add_argument("--budget", choices=["small", "full"], help="small: minutes on a laptop (default)")
    study.add_argument("--device", help="cpu, cuda, cuda:1, mps or auto (default)")
    study.add_argument("--json", action="store_true", help="machine-readable")
    study.add_argument("--save", type=Path, metavar="FILE", help="keep the result as a record")

    look = command("open", open_record, "say what a record file holds")
    look.add_argument("file", type=Path)
    look.add_argument("--rows", type=_positive, default=10, help="rows of its table to show (default 10)")
    look.add_argument("--html", type=Path, metavar="FILE", help="write its explorer as one self-contained page")

    command("doctor", doctor, "check this machine").add_argument("--json", action="store_true", help="machine-readable")

    begin = command("new", new, "begin a paper: write the skeletons of its method, study and test")
    begin.add_argument("number", type=int, help="the paper's number")
    begin.add_argument("--name", default="", metavar="NAME", help="the method's file name (default: its short name)")

    measure = command("bench", bench, "run the benchmarks")
    measure.add_argument("only", nargs="*", help="names of benchmarks (default: all)")
    measure.add_argument("--quick", action="store_true", help="smaller sizes, nothing written")
    return parser


def _study_settings(study: Any, options: argparse.Namespace) -> dict[str, Any]:
    """What the user set, as keyword arguments; what was not set is the study's own choice."""
    known = inspect.signature(study).parameters
    given = {name: getattr(options, name) for name in ("seeds", "budget", "device", "root", "teacher")}
    settings = {name: value for name, value in given.items() if value is not None}
    if options.data is not None:
        settings["data"] = options.data
        if not hasattr(study, "source"):  # not declared: it takes what is loaded
            from workbench import data  # noqa: PLC0415 - loads torch

            settings["data"] = data.load(options.data, root=settings.pop("root", None))
    if unknown := sorted(set(settings) - set(known)):
        raise Misuse(f"paper {options.number:03d} does not take --{', --'.join(unknown)}")
    return settings


def _print_result(result: "StudyResult") -> None:
    print(f"Paper {result.paper:03d}: {result.title}\n")
    print(_frame(result.to_frame()))
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


def _result_as_dict(result: "StudyResult") -> dict[str, Any]:
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


def _explorer() -> Any:
    """What draws records, found by its entry point: the library itself never imports the widgets."""
    for entry in metadata.entry_points(group="workbench.explore"):
        return entry.load()
    raise Misuse("no explorer is installed: install the workbench again (pip install -e .)")


def _frame(table: "pd.DataFrame") -> str:
    return table.to_string(index=False, float_format=lambda value: f"{value:.4g}", max_rows=60)


def _aligned(header: Sequence[str], rows: Iterable[Sequence[Any]], stream: Any) -> str:
    """A table with columns as wide as their widest entry; on a terminal lines are cut to its width."""
    lines = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [min(max(len(line[i]) for line in lines), 34) for i in range(len(header) - 1)]
    limit = os.get_terminal_size().columns if stream.isatty() else sys.maxsize
    padded = [[_cut(cell, width).ljust(width) for cell, width in zip(line[:-1], widths, strict=True)] for line in lines]
    return "\n".join("  ".join([*cells, line[-1]])[:limit] for cells, line in zip(padded, lines, strict=True))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())
