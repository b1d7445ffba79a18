#!/bin/sh
# Prints a Python that can make the environment: 3.11 or later, with venv. $PYTHON, if set, is the only candidate.
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.14 python3.11 python}; do
    "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
    echo "$candidate"
    exit 0
done
echo "The workbench needs Python 3.11 or later with its venv module; none of these is one: \
${PYTHON:-python3 python3.13 python3.12 python3.14 python3.11 python}." >&2
echo "Install one (Debian and Ubuntu: apt-get install python3 python3-venv; macOS: brew install python), \
or name one: make PYTHON=/path/to/python3.12" >&2
exit 1
