#!/bin/sh
# Makes sure that the browser tests find a Chromium: an existing one, else Playwright's, else the system's package.
# Usage: ensure_chromium.sh PYTHON-OF-THE-ENVIRONMENT
python=$1
found() { "$python" -c 'import sys; from workbench.doctor import find_chromium; sys.exit(find_chromium() is None)'; }

found && exit 0
if [ -n "${CHROMIUM:-}" ]; then
    echo "CHROMIUM=$CHROMIUM is not a program; unset it to have one installed" >&2
    exit 1
fi
echo "no Chromium here: asking Playwright for one"
"$python" -m playwright install chromium && found && exit 0

if [ "$(uname)" = Darwin ] && command -v brew >/dev/null; then
    echo "Playwright could not bring one: installing the cask chromium"
    brew install --cask chromium && found && exit 0
elif command -v apt-get >/dev/null; then
    if [ "$(id -u)" = 0 ]; then sudo=; else sudo="sudo -n"; fi
    echo "Playwright could not bring one: installing the package chromium"
    $sudo apt-get update -qq && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null \
        && found && exit 0
fi
echo "No Chromium for the browser tests. Install Chromium or Chrome by hand, or name one: make test CHROMIUM=/path" >&2
exit 1
