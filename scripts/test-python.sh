#!/bin/sh
# Makes the Python environment of the tests: the system's modules, and from PyPI what no
# distribution packages. Tests that want what could not be had skip themselves.
#
# usage: scripts/test-python.sh DIRECTORY
set -u

venv=$1
python=/usr/bin/python3
[ -x $python ] || python=python3

# want MODULE PACKAGE [PIP-OPTION]
want() {
    "$venv/bin/python3" -c "import $1" 2>/dev/null && return
    "$venv/bin/python3" -m pip install --quiet --disable-pip-version-check --retries 1 \
        --timeout 15 ${3-} "$2" >&2 && return
    echo "$2 could not be had from PyPI" >&2
    missing=1
}

missing=0
if ! "$venv/bin/python3" -c '' 2>/dev/null; then
    $python -m venv --system-site-packages "$venv" >&2 || exit 1
fi
want hdrh hdrhistogram
want grpclib grpclib
# Of the same version as the system's grpcio, and without another grpcio beside it.
grpc=$("$venv/bin/python3" -c 'import grpc; print(grpc.__version__)' 2>/dev/null)
if [ -n "$grpc" ]; then
    want grpc_health.v1.health "grpcio-health-checking==$grpc" --no-deps
    want grpc_reflection.v1alpha.reflection "grpcio-reflection==$grpc" --no-deps
fi
exit $missing
