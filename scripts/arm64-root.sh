# shellcheck shell=bash disable=SC2154
# Sourced by scripts/arm64: the arm64 Debian root in $DIR/root, made once. Needs say (venv.sh), fail, stage, logged.

ROOT_PACKAGES=python3-venv,libpython3-dev,libstdc++6

check_machine() {
  local missing=() pair
  [ "$(uname -m)" = x86_64 ] ||
    fail "this is for x86-64 machines and this one is $(uname -m); on arm64 scripts/test does the same without emulation"
  for pair in debootstrap:debootstrap proot:proot qemu-aarch64-static:qemu-user-static \
    aarch64-linux-gnu-g++:g++-aarch64-linux-gnu flock:util-linux; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
  done
  if [ ${#missing[@]} -gt 0 ]; then install_tools "${missing[@]}"; fi
}

install_tools() {
  local as_root=()
  [ "$install" = yes ] || fail "tools are missing; run this with --install, or: apt install $*"
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  stage "installing $*"
  "${as_root[@]}" apt-get install -y "$@" >&2 || fail "apt could not install them; try: apt update, then: apt install $*"
}

# Suite and mirror that apt on this machine uses for Debian itself; its updates have other code names, other archives labels.
find_mirror() {
  local line
  if [ -n "$suite" ] && [ -n "$mirror" ]; then return; fi
  line=$(apt-get indextargets --format '$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)' 'Identifier: Packages' 2>/dev/null |
    awk -F'|' '$1 == "Debian" && $2 == "Debian" && $3 == "main" && $4 !~ /-/ && !n++ { print $4 "|" $5 }') || true
  suite=${suite:-${line%%|*}}
  mirror=${mirror:-${line#*|}}
  [ -n "$suite" ] && [ -n "$mirror" ] ||
    fail "apt on this machine is not set up for Debian (or apt update never ran); say --suite NAME --mirror URL"
}

remove_root() {
  [ -e "$DIR/root" ] || return 0
  [ -e "$DIR/root.made" ] || fail "$DIR/root was not made by this script; remove it or give another folder with --dir"
  say "removing the half-made or outdated root"
  chmod -R u+rwX "$DIR/root" 2>/dev/null || true
  rm -rf --one-file-system "$DIR/root" || fail "$DIR/root cannot be removed; remove it by hand or give another folder with --dir"
}

# Fetch and unpack. proot lets an ordinary user do it, except for device files: empty ones stand in for them, and the /dev
# of this machine is shown over them later. In some containers debootstrap makes /proc a link to itself: undone.
fetch_root() {
  local proxy=
  if command -v apt-config >/dev/null; then eval "$(apt-config shell proxy Acquire::http::Proxy)"; fi
  if [ -n "$proxy" ]; then export http_proxy="${http_proxy:-$proxy}"; fi
  mkdir -p "$DIR/root/dev"
  touch "$DIR/root/dev/"{null,zero,full,random,urandom,tty,console,ptmx}
  logged "$DIR/root-1.log" proot -0 -w / debootstrap --foreign --arch=arm64 --variant=minbase \
    --include="$ROOT_PACKAGES" "$suite" "$DIR/root" "$mirror" ||
    fail "Debian $suite could not be fetched from $mirror: $(tail -n 1 "$DIR/root-1.log") (all of it: $DIR/root-1.log)
  see that the mirror can be reached and 2 GB are free, or name others with --mirror and --suite"
  if [ -L "$DIR/root/proc" ]; then rm "$DIR/root/proc" && mkdir "$DIR/root/proc"; fi
}

ensure_root() {
  local wanted="$suite $ROOT_PACKAGES"
  if is_done root "$wanted"; then return; fi
  remove_root
  rm -f "$DIR"/*.done
  : >"$DIR/root.made"
  stage "making an arm64 Debian $suite in $DIR/root (about 10 minutes, the first time only)"
  fetch_root
  stage "setting up its packages"
  logged "$DIR/root-2.log" "$ROOT/scripts/enter-arm64" --proot --set DEBOOTSTRAP_DIR=/debootstrap \
    "$DIR/root" /debootstrap/debootstrap --second-stage ||
    fail "the packages could not be set up: $(tail -n 1 "$DIR/root-2.log") (all of it: $DIR/root-2.log)
  see that the disk is not full and run this again: it starts with a new root"
  rm -f "$DIR/root/var/cache/apt/archives"/*.deb
  mark_done root "$wanted"
}
