"""An empty Termux for scripts/setup-termux: programs that note how they were called and fail when told to.

A fault is a word in the file `faults`: the fake that it belongs to prints what the real one prints then, and fails.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SETUP = Path(__file__).parents[1] / "scripts" / "setup-termux"

# What the real programs print; the first line is put into the log by the fake and must be understood by the script.
FAULTS = {
    "pkg-space": "E: write: No space left on device",
    "pkg-interrupted": "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.",
    "pkg-lock": "E: Could not get lock /data/data/com.termux/files/usr/var/lib/dpkg/lock-frontend.",
    "pkg-unknown": "E: Unable to locate package python-onnxruntime",
    "pkg-network": "E: Failed to fetch https://packages.example/dists/stable/InRelease  Could not resolve host",
    "pkg-link": 'CANNOT LINK EXECUTABLE "python": library "libpython3.13.so" not found',
    "pkg-else": "E: Sub-process dpkg returned an error code (1)",
    "venv-else": "Error: Command '[...]' returned non-zero exit status 1.",
    "pip-clockwait": "error: use of undeclared identifier 'pthread_cond_clockwait'",
    "pip-interrupted": "ERROR: Operation cancelled by user",
    "pip-killed": "  error: could not compile `tokenizers` (lib); process didn't exit (signal: 9, SIGKILL: kill)",
    "pip-network": "ERROR: Could not find a version that satisfies the requirement x; No matching distribution found",
    "pip-space": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "pip-rust": "  error: rustc 1.60 is too old; maturin failed",
    "pip-else": "ERROR: something that nobody has seen yet",
    "core": "ImportError: dlopen failed: cannot locate symbol",
    "onnxruntime": "ModuleNotFoundError: No module named 'onnxruntime.capi.onnxruntime_pybind11_state'",
    "debian-network": "Error: cannot reach the registry: Temporary failure in name resolution",
    "debian-exists": "Error: container 'pocketseek' already exists. Use a different name with '--name custom_name'.",
    "debian-old": "Error: unknown option '--name'",
}

_PREAMBLE = """#!/bin/bash
HERE={home}
note() {{ printf '%s\\n' "$*" >>"$HERE/calls"; }}
fault() {{ grep -qx "$1" "$HERE/faults" 2>/dev/null && {{ grep "^$1	" "$HERE/messages" | cut -f2- >&2; return 0; }}; }}
"""

_PROGRAMS = {
    "getprop": 'sed -n "s/^$1=//p" "$HERE/properties"',
    "id": "cat $HERE/uid",
    "uname": "cat $HERE/machine",
    "df": 'echo "Filesystem 1024-blocks Used Available"; echo "/dev/x 9 9 $(cat $HERE/free_kb) 1% /"',
    "pkg": """note "pkg $*"
for f in space interrupted lock unknown network link else; do fault "pkg-$f" && exit 100; done
for word in "$@"; do
  case $word in -* | *=* | install | upgrade | reinstall) ;; *) echo "$word" >>"$HERE/packages" ;; esac
done""",
    "dpkg-query": """grep -qx "${@: -1}" "$HERE/packages" 2>/dev/null && echo "install ok installed" """,
    "termux-wake-lock": "note wake-lock",
    "termux-wake-unlock": "note wake-unlock",
    "proot-distro": """note "proot-distro $*"
case $1 in
  install)
    for f in network exists old; do fault "debian-$f" && exit 1; done
    : >"$HERE/debian" ;;
  login)
    [ -e "$HERE/debian" ] || exit 1
    shift 3
    case $* in
      "cat /opt/pocketseek/installed") cat "$HERE/debian-installed" 2>/dev/null ;;
      *'printf "%s'*) printf '%s\\n' "${@: -1}" >"$HERE/debian-installed" ;;
      *apt-get*) fault pkg-network && exit 1; exit 0 ;;
      *pip*) fault pip-killed && exit 1; exit 0 ;;
    esac ;;
esac""",
    # also the environment's: `-m venv DIR` copies it
    "python": """case "$*" in
  -VV) cat "$HERE/python-version" ;;
  *"-m venv"*) note "venv"; fault venv-else && exit 1
    mkdir -p "${@: -1}/bin"; cp "$0" "${@: -1}/bin/python"; echo "system-site-packages = true" >"${@: -1}/pyvenv.cfg" ;;
  *"-m pip --version"*) exit 0 ;;
  *"-m pip install"*)
    note "pip level=$ANDROID_API_LEVEL jobs=$CARGO_BUILD_JOBS flags=${CXXFLAGS# } ${*#*--disable-pip-version-check }"
    case $CXXFLAGS in *__ANDROID_API__*) ;; *) fault pip-clockwait && exit 1 ;; esac
    fault pip-interrupted && { kill -INT $PPID; exit 1; }
    for f in killed network space rust else; do fault "pip-$f" && exit 1; done
    case "$*" in *llguidance*) fault extra && exit 1 ;; esac; exit 0 ;;
  *getandroidapilevel*) echo 24 ;;
  *"import onnxruntime"*) fault onnxruntime && exit 1; exit 0 ;;
  *_native*) fault core && exit 1; exit 0 ;;
  *"import pocketseek"*) exit 0 ;;
  -*pyproject.toml*) exec /usr/bin/env python3 "$@" ;;
  *) exit 9 ;;
esac""",
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    error: str


class FakeTermux:
    """`set` changes what a program answers; `faults` is written before a run."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "data" / "com.termux" / "files"
        self.home = self.files / "home"
        self.prefix = self.files / "usr"
        self.venv = self.home / "venv"
        (self.prefix / "bin").mkdir(parents=True)
        (self.prefix / "tmp").mkdir()
        self.home.mkdir()
        for name, body in _PROGRAMS.items():
            self.fake(name, body)
        self.set("messages", "".join(f"{fault}\t{text}\n" for fault, text in FAULTS.items()))
        self.set("properties", "ro.build.version.sdk=35\nro.build.version.release=15\npersist.sys.locale=en-GB\n")
        self.set("uid", "10234")
        self.set("machine", "aarch64")
        self.set("free_kb", "9000000")
        self.set("python-version", "Python 3.14.6 (main) [Clang 21.0.0]")

    def set(self, name: str, text: str) -> None:
        (self.home / name).write_text(text, encoding="utf-8")

    def fake(self, name: str, body: str) -> None:
        path = self.prefix / "bin" / name
        path.write_text(_PREAMBLE.format(home=self.home) + body + "\n", encoding="utf-8")
        path.chmod(0o700)

    def run(self, *arguments: str, faults: tuple[str, ...] = (), **environment: str) -> Done:
        self.set("faults", "".join(f"{fault}\n" for fault in faults))
        (self.home / "calls").unlink(missing_ok=True)
        done = subprocess.run(
            ["bash", str(SETUP), *arguments],
            env=self._environment() | environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def call(self, entry: Path) -> list[str]:
        """What an entry of Termux:Boot or Termux:Widget called. There is no sh in the fake PREFIX."""
        (self.home / "calls").unlink(missing_ok=True)
        subprocess.run(["sh", str(entry)], env=self._environment(), stdin=subprocess.DEVNULL, check=True)
        return self.calls()

    def _environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "PREFIX": str(self.prefix),
            "TMPDIR": str(self.prefix / "tmp"),
            "PATH": f"{self.prefix / 'bin'}{os.pathsep}/usr/local/bin:/usr/bin:/bin",
            "TERMUX_VERSION": "0.118.3",
            "LANG": "en_US.UTF-8",
            "POCKETSEEK_VENV": str(self.venv),
        }

    def calls(self) -> list[str]:
        path = self.home / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def pip_calls(self) -> list[str]:
        return [call for call in self.calls() if call.startswith("pip ")]
