"""What the data directory lies on: file system, block device, and whether that is UFS, eMMC, NVMe or something else.

From the mount table to the block device, through device mapper (Android encrypts /data with it) down to the disk, then
by the path that sysfs gives the disk. Apps on a phone may often not look there: then the property that names the boot
device tells UFS from eMMC. Not covered: file systems over several disks (the first one is taken).
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pocketseek.device.known import Known
from pocketseek.device.properties import Properties
from pocketseek.device.reading import read_line, read_text

_DEEPEST_MAPPING = 6
_PARTITION = re.compile(r"(nvme\d+n\d+|mmcblk\d+)p\d+|((?:sd|hd|vd|xvd)[a-z]+)\d+")
_KINDS_BY_PLACE = ((".ufs", "UFS"), ("/nvme", "NVMe"), ("/virtio", "virtual disk"))
_KINDS_BY_NAME = (("nvme", "NVMe"), ("vd", "virtual disk"), ("zram", "memory"), ("ram", "memory"))
_OVER_ANOTHER = ("fuse", "sdcardfs", "esdfs")  # Android's view of /data/media for apps


@dataclass(frozen=True)
class Mount:
    device: str
    point: str
    filesystem: str


@dataclass(frozen=True)
class StorageKind:
    """kind: "UFS", "eMMC", "SD card", "NVMe", "SSD", "hard disk", "virtual disk", "memory". version: of UFS ("3.1")."""

    filesystem: Known[str] | None = None
    device: Known[str] | None = None
    kind: Known[str] | None = None
    version: Known[str] | None = None


def storage_kind(root: Path, path: Path | None, properties: Properties) -> StorageKind:
    """path None: it is not known where on this device anything would lie."""
    mounts = _mounts(root)
    mount = _mount_of(mounts, _inside(root, path)) if path is not None else None
    if mount is None:
        return StorageKind(kind=_boot_device_kind(properties))
    filesystem = Known(mount.filesystem, f"/proc/mounts: {mount.point}")
    if mount.filesystem in _OVER_ANOTHER:
        mount = _mount_of(mounts, PurePosixPath("/data/media")) or mount
    name = _disk(root, mount.device)
    if name is None:
        return StorageKind(filesystem, kind=_memory_kind(mount) or _boot_device_kind(properties))
    device = Known(name, f"/proc/mounts: {mount.device}")
    kind = _kind_of(root, name) or _boot_device_kind(properties)
    version = _ufs_version(root, name) if kind and kind.value == "UFS" else None
    return StorageKind(filesystem, device, kind, version)


def _inside(root: Path, path: Path) -> PurePosixPath:
    """The path as the tree below `root` calls it."""
    return PurePosixPath("/") / (path.relative_to(root) if path.is_relative_to(root) else path)


def _mounts(root: Path) -> list[Mount]:
    lines = (line.split() for line in (read_text(root / "proc/mounts") or "").splitlines())
    return [Mount(fields[0], _unescaped(fields[1]), fields[2]) for fields in lines if len(fields) >= 3]


def _unescaped(text: str) -> str:
    """Blanks in mount points are written as octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _mount_of(mounts: list[Mount], path: PurePosixPath) -> Mount | None:
    """The mount with the longest point above the path; of several on one point the last, which hides the others."""
    best: Mount | None = None
    for mount in mounts:
        point = PurePosixPath(mount.point)
        if mount.filesystem != "rootfs" and (point == path or point in path.parents):
            best = mount if best is None or len(mount.point) >= len(best.point) else best
    return best


def _disk(root: Path, device: str) -> str | None:
    """ "/dev/block/dm-43" -> "sda": below the mapping and without the partition's number."""
    name = PurePosixPath(device).name
    if not device.startswith("/dev/") or not name:
        return None
    name = _link_target(root / device.lstrip("/")) or name  # /dev/block/by-name/userdata, /dev/mapper/root
    for _ in range(_DEEPEST_MAPPING):
        below = _listed(root / "sys/class/block" / name / "slaves")
        if not below:
            break
        name = below[0]
    match = _PARTITION.fullmatch(name)
    return match[1] or match[2] if match else name


def _kind_of(root: Path, name: str) -> Known[str] | None:
    source = f"/sys/block/{name}"
    place = os.path.realpath(root / "sys/block" / name)
    if name.startswith("mmcblk"):
        kind = {"MMC": "eMMC", "SD": "SD card"}.get(read_line(f"{place}/device/type") or "")
        return Known(kind, f"{source}/device/type") if kind else None
    for mark, found in _KINDS_BY_PLACE:
        if mark in place:
            return Known(found, source)
    for prefix, found in _KINDS_BY_NAME:
        if name.startswith(prefix):
            return Known(found, source)
    rotates = read_line(f"{place}/queue/rotational")
    return (
        Known({"0": "SSD", "1": "hard disk"}[rotates], f"{source}/queue/rotational") if rotates in ("0", "1") else None
    )


def _ufs_version(root: Path, name: str) -> Known[str] | None:
    """specification_version of the controller's device descriptor: 0x0310 is 3.1 (binary coded decimals)."""
    place = Path(os.path.realpath(root / "sys/block" / name))
    for folder in place.parents:
        if ".ufs" in folder.name:
            digits = read_line(str(folder / "device_descriptor/specification_version")) or ""
            if match := re.fullmatch(r"0x0?(\d)(\d)\d", digits):
                return Known(f"{match[1]}.{match[2]}", f"{folder.name}/device_descriptor/specification_version")
    return None


def _memory_kind(mount: Mount) -> Known[str] | None:
    return Known("memory", f"/proc/mounts: {mount.point}") if mount.filesystem in ("tmpfs", "ramfs") else None


def _boot_device_kind(properties: Properties) -> Known[str] | None:
    """ "1d84000.ufshc", "soc/11270000.ufshci", "7824900.sdhci": phones keep their data where they boot from."""
    known = properties.known("ro.boot.bootdevice", "ro.boot.boot_devices")
    value = known.value.lower() if known else ""
    kind = "UFS" if "ufs" in value else "eMMC" if "sdhci" in value or "mmc" in value or "msdc" in value else None
    return Known(kind, known.source) if kind and known else None


def _link_target(path: Path) -> str | None:
    try:
        return PurePosixPath(os.readlink(path)).name or None
    except (OSError, ValueError):
        return None


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (OSError, ValueError):
        return []
