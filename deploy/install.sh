#!/bin/sh
# Makes .venv and installs exactly what requirements.lock names, every file checked by its hash.
# Does nothing when that has been done for this very lock. PYTHON=python3.12 chooses the Python.
set -eu
cd "$(dirname "$0")/.."

suits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true; }

# An existing .venv stays, unless another Python is asked for or its own has gone.
if [ -n "${PYTHON:-}" ]; then
    suits "$PYTHON" || { echo "florin: PYTHON=$PYTHON is not a Python 3.11 or later." >&2; exit 1; }
    wanted=$(version_of "$PYTHON")
elif suits .venv/bin/python; then
    wanted=$(version_of .venv/bin/python)
else
    for candidate in python3 python3.12 python3.11 python3.13 python3.14; do
        if suits "$candidate"; then PYTHON=$candidate; break; fi
    done
    [ -n "${PYTHON:-}" ] || {
        echo "florin: Python 3.11 or later is needed, and there is none on the path;" \
            "name one with PYTHON=/path/to/python3.12." >&2
        exit 1
    }
    wanted=$(version_of "$PYTHON")
fi

installed=.venv/installed-requirements.lock
if [ "$(version_of .venv/bin/python)" = "$wanted" ] && .venv/bin/python -c 'import pip' 2>/dev/null; then
    if cmp -s requirements.lock "$installed"; then exit 0; fi
else
    "$PYTHON" -m venv --clear .venv || {
        echo "florin: $PYTHON cannot make a virtual environment;" \
            "on Debian and Ubuntu: apt-get install python3-venv" >&2
        exit 1
    }
fi

echo "Installing the dependencies of requirements.lock into .venv (Python $wanted)"
install() {
    .venv/bin/python -m pip install --disable-pip-version-check --require-hashes --no-deps "$@"
}
# Two packages exist as source only. They are built with the locked setuptools, not with whatever
# an isolated build would fetch.
sed -n '/^setuptools==/,/^[^ ]/{/^setuptools==/p;/^ /p;}' requirements.lock >.venv/setuptools.lock
install --requirement .venv/setuptools.lock
install --no-build-isolation --use-pep517 --requirement requirements.lock
cp requirements.lock "$installed"
