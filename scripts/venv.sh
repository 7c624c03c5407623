# shellcheck shell=bash
# Sourced by the scripts beside it: the project's own virtual environment, made once and kept up to date.
#
# The install is an editable one: changes to Python files count at once, and only a change of pyproject.toml, native/ or
# the Python itself installs (and compiles) again. One that is half made, or was made at another place, is made anew.
# POCKETSEEK_VENV puts the environment elsewhere.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
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
  {
    printf '%s\n' "$ROOT" "$VENV"
    "$VENV/bin/python" -VV 2>&1 || true
    cd "$ROOT" && find pyproject.toml native -type f -print0 | sort -z | xargs -0 cksum
  } | cksum
}

is_installed() {
  local extra=$1 wanted=$2
  [ "$(cat "$VENV/installed-dev" 2>/dev/null)" = "$wanted" ] ||
    { [ -z "$extra" ] && [ "$(cat "$VENV/installed" 2>/dev/null)" = "$wanted" ]; }
}

# Whether the environment is complete (pip comes last, its script after its files) and was made for this very place.
is_usable() {
  head -n 2 "$VENV/bin/pip" 2>/dev/null | grep -qF "$VENV/bin/python" && "$VENV/bin/python" -m pip --version >/dev/null 2>&1
}

make_venv() {
  local python output
  if [ "$VENV" != "$ROOT/.venv" ] && [ ! -e "$VENV/pyvenv.cfg" ] && [ -n "$(ls -A "$VENV" 2>/dev/null)" ]; then
    say "error: $VENV holds other things than a virtual environment; set POCKETSEEK_VENV to a new folder"
    return 1
  fi
  python=$(find_python)
  check_tools "$python"
  say "making a virtual environment in $VENV"
  if ! output=$("$python" -m venv --clear "$VENV" 2>&1); then
    say "error: $VENV could not be made (${output##*$'\n'}); see that the folder can be written, or set POCKETSEEK_VENV"
    return 1
  fi
}

# The last error in pip's output, and what to do about it.
explain_failure() {
  local log=$1 remedy
  if grep -qiE 'no space left' "$log"; then
    remedy="free some storage and run this again"
  elif grep -qiE 'connection|resolution|timed out|proxy|ssl|no matching distribution' "$log"; then
    remedy="see that the network (or pip's package index) can be reached and run this again"
  else
    remedy="the whole output tells more"
  fi
  say "error: pip could not install pocketseek; $remedy (output: $log)"
  { grep -E '^ *ERROR:' "$log" || grep -iE '^ *error:' "$log" || tail -n 1 "$log"; } | tail -n 1 | sed 's/^ */  /' >&2
}

# ensure_venv [dev]: afterwards "$VENV/bin" has pocketseek, and with `dev` the tools for tests and checks too.
ensure_venv() {
  local extra=${1:-} wanted what
  trap 'say "interrupted; run the same command again to go on"; exit 130' INT
  mkdir -p "$(dirname "$VENV")"
  VENV=$(cd "$(dirname "$VENV")" && pwd -P)/$(basename "$VENV")
  if ! is_installed "$extra" "$(fingerprint)"; then
    if ! is_usable; then make_venv; fi
    wanted=$(fingerprint)
    check_tools "$VENV/bin/python"
    # no byte code of what comes with tests: Python makes it where something is imported, and little of torch is
    what=(-e "$ROOT${extra:+[$extra]}" ${extra:+--no-compile})
    if is_installed "" "$wanted"; then # pip would build the core again
      say "installing what tests and checks need (a minute or so, the first time only)"
      what=("pocketseek[$extra]" --no-compile)
    else
      say "installing pocketseek and compiling its core (a minute or so, the first time only)"
      rm -f "$VENV/installed" "$VENV/installed-dev"
    fi
    if ! "$VENV/bin/python" -m pip install --quiet --no-input --disable-pip-version-check \
      "${what[@]}" >"$VENV/install.log" 2>&1; then
      explain_failure "$VENV/install.log"
      return 1
    fi
    printf '%s\n' "$wanted" >"$VENV/installed${extra:+-$extra}"
  fi
  trap - INT
}
