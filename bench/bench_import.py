"""How long importing takes, and that it loads no torch."""

import json
import subprocess
import sys
from statistics import median

SCRIPT = """
import json, sys, time
started = time.perf_counter()
import workbench, widgets
print(json.dumps([time.perf_counter() - started, "torch" in sys.modules]))
"""


def rows(quick: bool = False) -> list[dict]:
    """Rows of the table that `make bench` prints."""
    runs = [
        json.loads(subprocess.check_output([sys.executable, "-c", SCRIPT], text=True))
        for _ in range(3 if quick else 11)
    ]
    seconds = median(run[0] for run in runs)
    torch = any(run[1] for run in runs)
    return [
        {
            "name": "import workbench, widgets",
            "value": seconds,
            "unit": "s",
            "target": "≤ 0.4 s",
            "met": seconds <= 0.4,
        },
        {"name": "torch loaded by it", "value": "yes" if torch else "no", "unit": "", "target": "no", "met": not torch},
    ]
