"""The last measured result of each study, one file a paper beside this one, with the code it was measured on.

``make claims`` writes them; the catalogue and the paper pages read them. A result is current while the study's code and
the libraries that compute are those that it was measured with; else it is shown as stale, and measured anew.
"""

import json
import os
import tempfile
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import code, papers

if TYPE_CHECKING:
    from workbench.records import StudyResult

FOLDER = Path(__file__).resolve().parent
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "gpytorch")
"""Whose versions decide about numbers."""


@dataclass(frozen=True)
class Measured:
    """A study's result without its records.

    Attributes
    ----------
    paper, title, notes, deviations, cost
        As in `StudyResult`.
    table, claims
        A dict per row, and per claim: ``claim``, ``measured``, ``relation``, ``margin``, ``low``, ``high``, ``seeds``,
        ``asserted``, ``verdict``; an infinite end of an interval is None.
    settings
        As texts.
    seconds
        Core seconds it took, of all threads.
    date
        When, as YYYY-MM-DD.
    code
        `workbench.code.fingerprint` of the study's module.
    versions
        Of `LIBRARIES`.
    """

    paper: int
    title: str
    table: list[dict[str, Any]]
    claims: list[dict[str, Any]]
    settings: dict[str, str]
    notes: str
    deviations: list[str]
    cost: str
    seconds: float
    date: str
    code: str
    versions: dict[str, str]

    @property
    def current(self) -> bool:
        """The study's code and the libraries are still those it was measured with."""
        study = papers.get(self.paper).study
        return bool(study) and self.code == code.fingerprint(study) and self.versions == versions()


def versions() -> dict[str, str]:
    """The installed versions of what computes, without build tags."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name).partition("+")[0]
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def read(paper: int) -> Measured | None:
    """The last measured result of a paper's study; None where there is none.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    path = FOLDER / f"p{paper:03d}.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return Measured(**{field.name: found[field.name] for field in fields(Measured)})
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name} is damaged ({error}): `make claims` measures it anew") from None


def write(result: "StudyResult", seconds: float) -> Path:
    """Keep a result; the file appears whole or not at all."""
    study = papers.get(result.paper).study
    made = Measured(
        paper=result.paper,
        title=result.title,
        table=[_rounded(row) for row in json.loads(result.to_frame().to_json(orient="records"))],
        claims=[_rounded(row) for row in json.loads(result.claims_frame().to_json(orient="records"))],
        settings={name: str(value) for name, value in result.settings.items()},
        notes=result.notes,
        deviations=list(result.deviations),
        cost=result.cost,
        seconds=round(seconds, 1),
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        code=code.fingerprint(study),
        versions=versions(),
    )
    path = FOLDER / f"p{result.paper:03d}.json"
    text = _lines(asdict(made))
    with tempfile.NamedTemporaryFile(
        "w", dir=FOLDER, prefix=".", suffix=".json", delete=False, encoding="utf-8"
    ) as file:
        file.write(text)
    os.replace(file.name, path)  # noqa: PTH105 - the name is a text already
    path.chmod(0o644)
    return path


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    """Six digits, which no study needs more of and which keep the files small."""
    return {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in row.items()}


def _lines(document: dict[str, Any]) -> str:
    """JSON with a line for each row and claim, so that a change is read as a change of rows."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            inner = ",\n  ".join(json.dumps(row, ensure_ascii=False) for row in value)
            parts.append(f'"{key}": [\n  {inner}\n ]')
        else:
            parts.append(f'"{key}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n " + ",\n ".join(parts) + "\n}\n"
