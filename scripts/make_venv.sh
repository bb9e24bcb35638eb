#!/bin/sh
# Make a virtual environment with pip in it. Debian's python3 lacks the part of venv that installs
# pip: as root it is installed here, for any other user the script names the package and fails.
set -eu
folder=$1
python=${PYTHON:-python3}

if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "error: $("$python" --version 2>&1) is too old; Ingot needs Python 3.11 or later" >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing python3-venv, which this Python lacks"
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends python3-venv >/dev/null
  else
    echo "error: $python has no ensurepip; install it: sudo apt-get install python3-venv" >&2
    exit 1
  fi
fi
header=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')/Python.h
if [ ! -f "$header" ]; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing python3-dev, for the C++ core"
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends python3-dev >/dev/null
  else
    echo "note: without Python's headers PyTorch serves instead of the C++ core;" \
      "for the core: sudo apt-get install python3-dev" >&2
  fi
fi
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --upgrade 'pip>=24'
echo "installing Ingot and its dependencies into $folder (a few minutes, about 2 GB)"
