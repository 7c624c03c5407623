"""The operating system around us: distribution, kernel, Android and its phone, Termux."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from pocketseek.device.reading import read_fields, read_text

_GETPROP_TIMEOUT_S = 5


def os_name(root: Path) -> str | None:
    """PRETTY_NAME of os-release, e.g. "Debian GNU/Linux 12 (bookworm)"."""
    for name in ("etc/os-release", "usr/lib/os-release"):
        if value := read_fields(root / name, "=").get("PRETTY_NAME"):
            return value.strip("\"'") or None
    return None


def kernel_release(root: Path) -> str | None:
    return read_text(root / "proc/sys/kernel/osrelease") or None


def is_termux(root: Path) -> bool:
    return (root / "data/data/com.termux/files/usr").is_dir()


def android_property(root: Path, name: str) -> str | None:
    """One system property through Android's own getprop; None elsewhere, and if it is unset."""
    program = root / "system/bin/getprop"
    if not os.access(program, os.X_OK):
        return None
    try:
        done = subprocess.run(
            [str(program), name], capture_output=True, stdin=subprocess.DEVNULL, timeout=_GETPROP_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace").strip() or None


def phone_model(root: Path) -> str | None:
    """Maker and model of an Android phone, or what a device tree calls the board (a Raspberry Pi, for example)."""
    names = [android_property(root, f"ro.product.{part}") for part in ("manufacturer", "model")]
    return " ".join(name for name in names if name) or read_text(root / "proc/device-tree/model") or None


def soc_model(root: Path) -> str | None:
    """What Android says of the chip, e.g. "QTI SM8650"."""
    names = [android_property(root, f"ro.soc.{part}") for part in ("manufacturer", "model")]
    return " ".join(name for name in names if name) or None


def free_storage_bytes(path: Path) -> int | None:
    """What a user may still write on the disk that holds `path`, or would hold it once it is created."""
    for folder in (path, *path.parents):
        try:
            status = os.statvfs(folder)
        except OSError:
            continue
        return status.f_bavail * status.f_frsize
    return None
