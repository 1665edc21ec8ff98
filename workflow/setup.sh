#!/usr/bin/env bash
# Make a virtual environment from requirements.lock: with uv where it is there or can be had, else with pip.
# usage: setup.sh PYTHON VENV
set -euo pipefail
python=$1 venv=$2

"$python" - <<'PY' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"foveate needs Python 3.11 or newer, {sys.executable} is {sys.version.split()[0]}; "
             "try: make setup PYTHON=/path/to/python3.12")
PY

if ! command -v uv >/dev/null; then
    # A folder of its own keeps uv out of the project's environment and out of the user's.
    tools=$venv.uv
    if "$python" -m venv "$tools" 2>/dev/null && "$tools/bin/pip" install --quiet uv; then
        PATH=$PWD/$tools/bin:$PATH
    fi
fi

rm -rf "$venv"
if command -v uv >/dev/null; then
    uv venv --quiet --python "$python" "$venv"
    uv pip install --quiet --python "$venv/bin/python" --compile-bytecode --requirement requirements.lock
    uv pip install --quiet --python "$venv/bin/python" --no-deps --editable .
else
    if ! "$python" -m venv "$venv"; then
        echo "$python cannot make a virtual environment; install its venv module (Debian: python3-venv)" >&2
        exit 1
    fi
    "$venv/bin/pip" install --quiet --requirement requirements.lock
    "$venv/bin/pip" install --quiet --no-deps --editable .
fi
