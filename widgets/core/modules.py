"""One ES module per explorer, put together from its parts without a bundler.

A part is a plain ES module: the type checker and an editor read it as it lies there. Jupyter takes one module as one
string, and a page made by `Explorer.to_html` may load nothing, so the parts are joined: each becomes a function that
returns what it exports, in the order in which they need one another.
"""

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent
_IMPORT = re.compile(r'^import \{([^}]*)\} from "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function\*?|function\*?|const|let|class) (\w+))", re.MULTILINE)
_DEFAULT = re.compile(r"^export default ([^;]+);\n", re.MULTILINE)


@cache
def compose(entry: str) -> str:
    """The module `entry` (a path under widgets/) and all it imports, as one module with the same default export.

    Raises
    ------
    ValueError
        A part writes an import or export that this joining does not understand, or parts import one another in a ring.
    """
    done: dict[Path, str] = {}
    chunks: list[str] = []
    _join(ROOT / entry, done, chunks, ())
    return "\n".join(chunks)


@cache
def styles(*paths: str) -> str:
    """The style sheets at `paths` (under widgets/), one after the other."""
    return "\n".join((ROOT / path).read_text(encoding="utf-8") for path in paths)


def _join(path: Path, done: dict[Path, str], chunks: list[str], ring: tuple[Path, ...]) -> str:
    if path in ring:
        raise ValueError(f"parts import one another in a ring: {' → '.join(part.name for part in (*ring, path))}")
    if path in done:
        return done[path]
    source = path.read_text(encoding="utf-8")

    def bind(found: re.Match[str]) -> str:
        names = ", ".join(name.strip().replace(" as ", ": ") for name in found[1].split(",") if name.strip())
        return f"const {{ {names} }} = {_join((path.parent / found[2]).resolve(), done, chunks, (*ring, path))};\n"

    body = _IMPORT.sub(bind, source)
    exported = _EXPORT.findall(body)
    body = _EXPORT.sub("", body)
    default = _DEFAULT.search(body)
    rest = _DEFAULT.sub("", body)
    if stray := re.search(r"^(?:import|export)\b.*$", rest, re.MULTILINE):
        raise ValueError(f"{path.name} has a line that cannot be joined: {stray[0]}")
    name = "part_" + re.sub(r"\W", "_", path.relative_to(ROOT).with_suffix("").as_posix())
    result = f"{{ {', '.join(exported)} }}" if not default else default[1]
    chunks.append(
        f"// {path.relative_to(ROOT).as_posix()}\nconst {name} = (() => {{\n{rest}\nreturn {result};\n}})();\n"
    )
    if default:
        chunks.append(f"export default {name};\n")
    done[path] = name
    return name
