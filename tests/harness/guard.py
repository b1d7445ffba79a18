"""Runs a program, and ends it with everything that it has started once whoever started this is gone.

``python guard.py PROGRAM ARGUMENT…`` with a pipe as standard input, into which nobody writes: the pipe ends with the
process that holds its other end, however that process dies.
"""

import signal
import subprocess
import sys
import threading

import psutil

PATIENCE = 10  # seconds in which the program may end by itself


def end(process: subprocess.Popen) -> None:
    """Ask `process` to end, and kill what is left of its family after a while."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE)
    for one in alive:
        one.kill()


def main(command: list[str]) -> int:
    """Run `command` to its end, or to that of the parent."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())

    def watch() -> None:
        sys.stdin.buffer.read()  # returns when the other end of the pipe is closed
        end(process)

    threading.Thread(target=watch, daemon=True).start()
    return process.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
