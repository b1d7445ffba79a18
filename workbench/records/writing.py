"""Writing a file whole or not at all, and clearing away what a killed process left half written.

>>> import tempfile
>>> path = Path(tempfile.mkdtemp()) / "page.html"
>>> with written(path) as unfinished:
...     _ = unfinished.write_text("whole")
>>> path.read_text(), [each.name for each in path.parent.iterdir()]
('whole', ['page.html'])
"""

import errno
import hashlib
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_MARK = ".workbench-"


@contextmanager
def written(path: str | os.PathLike) -> Iterator[Path]:
    """A file to write in place of `path`; it takes the name of `path` once it is whole, and is removed on an error.

    Files that a process which has ended left unfinished in the same folder are removed.

    Raises
    ------
    OSError
        The folder cannot be made or written in; `path` is a folder.
    """
    path = Path(path)
    unfinished = place_beside(path)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def place_beside(path: Path) -> Path:
    """A name in the folder of `path` for its unfinished file, known again by `leftovers`; that folder is cleared."""
    _refuse_folder(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in leftovers(path.parent):
        left.unlink(missing_ok=True)
    return path.parent / f"{_MARK}{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:12]}.part"


def leftovers(folder: Path) -> list[Path]:
    """Unfinished files in `folder` of processes of this machine that have ended."""
    found = []
    for path in folder.glob(f"{_MARK}{_machine()}-*.part"):
        process = path.name.removeprefix(f"{_MARK}{_machine()}-").partition("-")[0]
        if process.isdecimal() and not _runs(int(process)):
            found.append(path)
    return found


def check_writable(path: str | os.PathLike, argument: str) -> Path:
    """`path`, once a file could be written there; to be called before the work whose result goes there.

    Raises
    ------
    OSError
        Nothing can be written there; the message names `argument` and what is in the way.
    """
    path = Path(path)
    try:
        trial = place_beside(path)
        trial.touch()
        trial.unlink()
        with suppress(FileNotFoundError):
            path.lstat()  # a name that is too long fails here, not after the work
    except OSError as error:
        why = error.strerror or str(error)
        message = f"{argument} is {str(path)!r}, where nothing can be written ({why}): name a file in a folder of yours"
        raise type(error)(error.errno, message) from None
    return path


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{path} is a folder: name a file in it")


def _machine() -> str:
    """This machine in a few characters: on a shared folder, another machine's processes are not ours to judge."""
    return hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    if os.name == "nt":  # there, os.kill ends the process that it asks after
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it runs, as somebody else
        return True
    return True
