#!/usr/bin/env bash
# Makes the one environment, .venv, exactly as the lock says; instant when nothing changed.
# `setup.sh browser` makes sure that there is a Chromium for the page tests.
set -euo pipefail
cd "$(dirname "$0")"

UV_VERSION=0.13.8
PYTHON=${PYTHON:-python3.11}
# uv runs Python to compile bytecode; without it vLLM starts in twice the time.
unset PYTHONDONTWRITEBYTECODE

die() {
    echo "setup: $1" >&2
    exit 1
}

debian_package() { # NAME, WHAT NEEDS IT
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        die "$2 needs $1; install it (Debian: sudo apt-get install $1), then try again"
    fi
    echo "setup: installing Debian's $1, for $2"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$1"; } </dev/null ||
        die "$1 could not be installed (see above); install it, then try again"
}

browser() {
    for name in chromium chromium-browser google-chrome; do
        if command -v "$name" >/dev/null; then return; fi
    done
    debian_package chromium "the tests of the pages"
}

# The one system library that vLLM's CPU build loads and no wheel brings.
libnuma() {
    [ "$lock" = requirements.lock ] || return 0
    .venv/bin/python -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null ||
        debian_package libnuma1 "vLLM"
}

# The CUDA builds where a GPU answers, else the CPU builds.
choose_lock() {
    lock=${LOCK:-}
    if [ -n "$lock" ]; then
        return # an image is built where no GPU is
    elif command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
        lock=requirements-cuda.lock
    else
        lock=requirements.lock
    fi
}

# The CPU build of torch is on no common registry: from pip's find-links where one is set up.
choose_torch_source() {
    torch_source=()
    [ "$lock" = requirements.lock ] || return 0
    links=${UV_FIND_LINKS:-$("$PYTHON" -m pip config get global.find-links 2>/dev/null ||
        echo "${PIP_FIND_LINKS:-}")}
    if [ -n "$links" ]; then
        export UV_FIND_LINKS=${links// /,}
    else
        torch_source=(--torch-backend cpu)
    fi
}

make_venv() {
    if [ -x .venv/bin/python ]; then
        .venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
            die ".venv is not of Python 3.11; remove it (make clean), then try again"
        return
    fi
    command -v "$PYTHON" >/dev/null ||
        die "$PYTHON is missing; install Python 3.11 (Debian: python3.11 and python3.11-venv)"
    "$PYTHON" -m venv .venv || die ".venv could not be made (Debian: install python3.11-venv)"
}

install_uv() {
    [ "$(.venv/bin/uv --version 2>/dev/null | cut -d' ' -f2)" != "$UV_VERSION" ] || return 0
    [ -x .venv/bin/pip ] || .venv/bin/python -m ensurepip >/dev/null || die "pip can't be had in .venv"
    .venv/bin/python -m pip install -q --disable-pip-version-check "uv==$UV_VERSION" ||
        die "uv $UV_VERSION could not be installed; is a package registry reachable?"
}

install_packages() {
    echo "setup: installing $(grep -c == "$lock") packages of $lock into .venv"
    .venv/bin/uv pip install -q --python .venv/bin/python --no-deps --compile-bytecode \
        "${torch_source[@]}" -r "$lock" ||
        die "the packages could not be installed (see above); check network and disk, try again"
    .venv/bin/uv pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e . ||
        die "the project itself could not be installed (see above)"
}

if [ "${1:-}" = browser ]; then
    browser
    exit
fi
exec 9<setup.sh
if command -v flock >/dev/null; then flock 9; fi # two at once: the second waits, then is done
choose_lock
stamp=$(cat "$lock" pyproject.toml setup.sh | sha256sum)
if [ "$(cat .venv/setup-stamp 2>/dev/null)" = "$stamp" ]; then exit; fi
choose_torch_source
make_venv
install_uv
install_packages
libnuma
echo "$stamp" >.venv/setup-stamp
