"""The operating system around us: distribution, kernel, Android and its phone, Termux, the board or the PC."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from pocketseek.device.known import Known
from pocketseek.device.properties import Properties
from pocketseek.device.reading import is_here, parse_int, read_fields, read_line, read_text

TERMUX_PREFIX = "data/data/com.termux/files/usr"
TERMUX_HOME = "data/data/com.termux/files/home"
_ABIS = {"arm64-v8a": "aarch64", "armeabi-v7a": "armv7l", "x86_64": "x86_64", "x86": "i686", "riscv64": "riscv64"}
_NO_NAME = {"", "Default string", "System manufacturer", "System Product Name", "To Be Filled By O.E.M.", "None"}
# What may name the chip, the most exact first.
_CHIP_PROPERTIES = (
    *("ro.soc.model", "ro.vendor.qti.soc_model", "ro.hardware.chipname", "ro.chipname", "ro.vendor.mediatek.platform"),
    *("ro.mediatek.platform", "ro.board.platform", "ro.hardware"),
)


def architecture(root: Path, properties: Properties) -> Known[str] | None:
    """Of the running machine; of another root what its Android was built for, or arm64 if its cores say so."""
    if is_here(root):
        return Known(platform.machine(), "uname")
    abi = properties.known("ro.product.cpu.abi")
    if abi and abi.value in _ABIS:
        return Known(_ABIS[abi.value], abi.source)
    if "asimd" in read_fields(root / "proc/cpuinfo").get("Features", "").split():
        return Known("aarch64", "/proc/cpuinfo: Features")
    return None


def os_name(root: Path) -> Known[str] | None:
    """PRETTY_NAME of os-release, e.g. "Debian GNU/Linux 12 (bookworm)"."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        if value := read_fields(root / name, "=").get("PRETTY_NAME", "").strip("\"'"):
            return Known(value, f"/{name}")
    return None


def kernel_release(root: Path) -> str | None:
    return read_text(root / "proc/sys/kernel/osrelease") or None


def is_termux(root: Path) -> bool:
    return (root / TERMUX_PREFIX).is_dir()


def is_android(root: Path) -> bool:
    """Also in a proot on it, as far as that shows the phone's own files."""
    return is_termux(root) or os.path.lexists(root / "system/bin/dumpsys")


def has_termux_api(root: Path) -> bool | None:
    """Whether Termux's package of commands for Termux:API is there; the app itself cannot be seen. None: no Termux."""
    return (root / TERMUX_PREFIX / "bin/termux-battery-status").exists() if is_termux(root) else None


def android_api_level(properties: Properties) -> Known[int] | None:
    known = properties.known("ro.build.version.sdk")
    level = parse_int(known.value) if known else None
    return Known(level, known.source) if known and level is not None else None


def phone_model(root: Path, properties: Properties) -> Known[str] | None:
    """Maker and model of an Android phone, or what a device tree calls the board (a Raspberry Pi, for example)."""
    named = _joined(properties, "ro.product.manufacturer", "ro.product.model")
    board = None if named else read_text(root / "proc/device-tree/model")
    return Known(board, "/proc/device-tree/model") if board else named


def pc_model(root: Path) -> Known[str] | None:
    """Maker and product as the firmware of a PC says (DMI)."""
    folder = root / "sys/class/dmi/id"
    words = [read_line(str(folder / name)) or "" for name in ("sys_vendor", "product_name")]
    name = " ".join(word for word in words if word not in _NO_NAME)
    return Known(name, "/sys/class/dmi/id") if name else None


def soc_model(properties: Properties) -> Known[str] | None:
    """What Android says of the chip, e.g. "QTI SM8650"."""
    return _joined(properties, "ro.soc.manufacturer", "ro.soc.model")


def chip_names(root: Path, properties: Properties) -> Iterator[Known[str]]:
    """Everything here that may name the chip, the most exact first: for the chip table."""
    yield from (known for name in _CHIP_PROPERTIES if (known := properties.known(name)))
    if machine := read_line(str(root / "sys/devices/soc0/machine")):
        yield Known(machine, "/sys/devices/soc0/machine")
    if hardware := read_fields(root / "proc/cpuinfo").get("Hardware"):
        yield Known(hardware, "/proc/cpuinfo: Hardware")
    for compatible in (read_text(root / "proc/device-tree/compatible") or "").split("\0"):
        yield Known(compatible.rpartition(",")[2], "/proc/device-tree/compatible")


def storage_bytes(path: Path) -> tuple[int | None, int | None]:
    """(what a user may still write, size) of the disk that holds `path`, or would hold it once it is created."""
    for folder in (path, *path.parents):
        try:
            status = os.statvfs(folder)
        except (OSError, ValueError):
            continue
        if not status.f_blocks:  # no disk: /proc and the like
            return None, None
        return status.f_bavail * status.f_frsize, status.f_blocks * status.f_frsize
    return None, None


def _joined(properties: Properties, *names: str) -> Known[str] | None:
    found = [(name, known) for name in names if (known := properties.known(name))]
    if not found:
        return None
    return Known(" ".join(known.value for _, known in found), ", ".join(known.source for _, known in found))
