#!/bin/sh
# Makes the Python environment of the tests: the system's modules, and hdrhistogram from PyPI,
# which no distribution packages. Without a network the tests that want it skip themselves.
#
# usage: scripts/test-python.sh DIRECTORY
set -u

venv=$1
python=/usr/bin/python3
[ -x $python ] || python=python3

"$venv/bin/python3" -c 'import hdrh' 2>/dev/null && exit 0
if ! "$venv/bin/python3" -c '' 2>/dev/null; then
    $python -m venv --system-site-packages "$venv" >&2 || exit 1
fi
"$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 15 \
    hdrhistogram >&2 && exit 0
echo "hdrhistogram could not be had from PyPI" >&2
exit 1
