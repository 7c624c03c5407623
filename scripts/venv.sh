# Sourced by the scripts beside it: the project's own virtual environment, made once and kept up to date.
#
# The install is an editable one: changes to Python files count at once, and only a change of pyproject.toml, native/ or
# the Python itself installs (and compiles) again. POCKETSEEK_VENV puts the environment elsewhere.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${POCKETSEEK_VENV:-$ROOT/.venv}

say() { printf '%s\n' "$*" >&2; }

# What to type to install a package: one name for Debian, one for Termux.
how_to_install() {
  if [ -n "${TERMUX_VERSION:-}" ]; then printf 'pkg install %s' "$2"; else printf 'apt install %s' "$1"; fi
}

# The first Python that is new enough. Prints its path.
find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$name"
      return
    fi
  done
  say "error: Python 3.11 or newer is needed; install it: $(how_to_install python3 python)"
  return 1
}

# Say what is missing before pip does it at length.
check_tools() {
  local python=$1
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    say "error: Python's venv module is missing; install it: $(how_to_install python3-venv python)"
    return 1
  fi
  if [ -z "${CXX:-}" ] && ! command -v c++ >/dev/null && ! command -v g++ >/dev/null && ! command -v clang++ >/dev/null; then
    say "error: there is no C++ compiler; install one: $(how_to_install g++ clang)"
    return 1
  fi
  if ! "$python" -c 'import os, sys, sysconfig as s; sys.exit(not os.path.exists(s.get_path("include") + "/Python.h"))'; then
    say "error: Python's header files are missing; install them: $(how_to_install python3-dev python)"
    return 1
  fi
}

# A fingerprint of everything that an install depends on.
fingerprint() {
  (cd "$ROOT" && { "$VENV/bin/python" -VV; find pyproject.toml native -type f -print0 | sort -z | xargs -0 cksum; }) | cksum
}

# ensure_venv [dev]: afterwards "$VENV/bin" has pocketseek, and with `dev` the tools for tests and checks too.
ensure_venv() {
  local extra=${1:-} python wanted
  if ! "$VENV/bin/python" -c '' 2>/dev/null; then
    python=$(find_python)
    check_tools "$python"
    say "making a virtual environment in $VENV"
    "$python" -m venv --clear "$VENV"
  fi
  wanted=$(fingerprint)
  if [ "$(cat "$VENV/installed-dev" 2>/dev/null)" = "$wanted" ]; then return; fi
  if [ -z "$extra" ] && [ "$(cat "$VENV/installed" 2>/dev/null)" = "$wanted" ]; then return; fi
  check_tools "$VENV/bin/python"
  say "installing pocketseek and compiling its core (a minute or so, the first time only)"
  rm -f "$VENV/installed" "$VENV/installed-dev"
  "$VENV/bin/python" -m pip install --quiet --no-input --disable-pip-version-check -e "$ROOT${extra:+[$extra]}"
  printf '%s\n' "$wanted" >"$VENV/installed${extra:+-$extra}"
}
