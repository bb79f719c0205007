#!/usr/bin/env bash
# Make the virtual environment FOLDER with the first Python >= 3.11 there is; a sound one is left as it is.
# Usage: [PYTHON=/path/to/python] tools/make_venv.sh FOLDER
set -euo pipefail

folder=$1
is_new_enough='import sys; sys.exit(sys.version_info < (3, 11))'

if [ -x "$folder/bin/python" ] && "$folder/bin/python" -c "import pip; $is_new_enough" 2>/dev/null; then
  exit 0
fi

# 3.11 first: constraints.txt was made with it. A name on the PATH may be a shim for a version that is not installed, so
# each one is tried.
python=${PYTHON:-}
if [ -n "$python" ]; then
  if ! "$python" -c "$is_new_enough" 2>/dev/null; then
    echo "make: PYTHON='$python' is not a Python 3.11 or newer." >&2
    exit 2
  fi
else
  for candidate in python3.11 python3.12 python3.13 python3.14 python3 python; do
    if command -v "$candidate" >/dev/null 2>&1 && "$candidate" -c "$is_new_enough" 2>/dev/null; then
      python=$candidate
      break
    fi
  done
fi
if [ -z "$python" ]; then
  echo "make: no Python 3.11 or newer found. Install one, or name it: make setup PYTHON=/path/to/python3.11" >&2
  exit 2
fi

echo "Making $folder with $("$python" --version)"
if ! "$python" -m venv --clear "$folder"; then
  rm -rf "$folder"
  echo "make: '$python -m venv' failed (see above). On Debian and Ubuntu the module is a package of its own:" >&2
  echo "  apt install $("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" >&2
  echo "Or name another Python: make setup PYTHON=/path/to/python3.11" >&2
  exit 2
fi
