"""The ``workbench`` command: the laboratory, the catalogue, a study, a record, a check-up, from a terminal.

Exit status: 0 all is well; 1 an asserted claim or a check fails; 2 the command was misused; 70 something broke inside.
"""

import argparse
import contextlib
import importlib
import inspect
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import __version__, papers, showing

if TYPE_CHECKING:
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
    print(showing.aligned(("no.", "paper", "year", "family", "status", "source → signal → target"), rows, sys.stdout))
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
    settings = _study_settings(study, options)
    if options.save:
        from workbench.records.writing import check_writable  # noqa: PLC0415 - loads torch

        try:
            check_writable(options.save, "--save")
        except OSError as error:
            raise Misuse(error.strerror) from None
    with _progress():
        result: StudyResult = study(**settings)
    if options.json:
        print(json.dumps(showing.as_dict(result), ensure_ascii=False, indent=1))
    else:
        showing.print_result(result, rows=options.rows)
    saved = not options.save or showing.save(result, options.save, quiet=options.json)
    return FAILED if not result.passed else 0 if saved else BROKEN


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
        print(f"\n{showing.table(table.head(options.rows))}")
        if len(table) > options.rows:
            print(f"… {len(table):,} rows in all (--rows N shows more)")
    if options.html:
        print(f"\ndrawn: {_explorer()(record).to_html(options.html) or options.html}")
    return 0


def cache(options: argparse.Namespace) -> int:
    """List the trained sources that are kept (teachers, experts, reference samples), or clear them."""
    from workbench.training import sources  # noqa: PLC0415 - loads torch

    if options.clear:
        freed = sources.clear(options.older_than * 86400)
        print(f"{showing.size(freed)} freed; what a study needs again is made again")
        return 0
    found = [one for one in sources.kept() if one.used <= time.time() - options.older_than * 86400]
    if options.json:
        about = [{"file": str(one.path), "what": one.what, "bytes": one.size, "used": one.used} for one in found]
        print(json.dumps(about, indent=1))
        return 0
    when = [time.strftime("%Y-%m-%d %H:%M", time.localtime(one.used)) for one in found]
    rows = [(o.what, showing.size(o.size), used, o.path.name) for o, used in zip(found, when, strict=True)]
    if rows:
        print(showing.aligned(("what", "size", "last used", "file"), rows, sys.stdout) + "\n")
    total = showing.size(sum(one.size for one in found))
    print(f"{len(found)} trained sources, {total}, in {sources.folder()}; `workbench cache --clear` removes them.")
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

    def command(name: str, action: Callable[[argparse.Namespace], object], summary: str) -> argparse.ArgumentParser:
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
    study.add_argument("--seeds", type=_seeds, metavar="K|A,B,…", help="how many seeds to run, or which: 7,8,9")
    study.add_argument("--budget", choices=["small", "full"], help="small: minutes on a laptop (default)")
    study.add_argument("--device", help="cpu, cuda, cuda:1, mps or auto (default)")
    study.add_argument("--rows", action="store_true", help="every row instead of the means over seeds")
    study.add_argument("--json", action="store_true", help="machine-readable")
    study.add_argument("--save", type=Path, metavar="FILE", help="keep the result as a record")

    look = command("open", open_record, "say what a record file holds")
    look.add_argument("file", type=Path)
    look.add_argument("--rows", type=_positive, default=10, help="rows of its table to show (default 10)")
    look.add_argument("--html", type=Path, metavar="FILE", help="write its explorer as one self-contained page")

    store = command("cache", cache, "list or clear the trained sources that are kept")
    store.add_argument("--clear", action="store_true", help="remove them")
    store.add_argument("--older-than", type=_days, default=0.0, metavar="DAYS", help="only those not used for so long")
    store.add_argument("--json", action="store_true", help="machine-readable")

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


@contextlib.contextmanager
def _progress() -> Iterator[None]:
    """Shows on standard error where a long study is: a line each, with the time, at once also where that is a file."""
    log = logging.getLogger("workbench.studies")
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    level = log.level
    log.addHandler(shown)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(shown)
        log.setLevel(level)


def _explorer() -> Any:
    """What draws records, found by its entry point: the library itself never imports the widgets."""
    for entry in metadata.entry_points(group="workbench.explore"):
        return entry.load()
    raise Misuse("no explorer is installed: install the workbench again (pip install -e .)")


def _days(text: str) -> float:
    days = float(text)
    if not 0 <= days < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of days")
    return days


def _seeds(text: str) -> int | list[int]:
    """``"3"``: how many; ``"7,8,9"`` or ``"7,"``: which."""
    if "," not in text:
        return _positive(text)
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seeds: whole numbers, none twice, such as 7,8,9")
    return [int(part) for part in parts]


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())
