"""What this process may read and write of what the governors need, found by looking, and what SELinux says.

True: it can; False: it is there and refused; None: it is not there, so that nobody can.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pocketseek.device.known import Known
from pocketseek.device.properties import Properties
from pocketseek.device.reading import numbered_folders, read_line


@dataclass(frozen=True)
class Permissions:
    """read_temperatures: thermal zones. read_battery: power supplies. read_load: /proc/stat (Android hides it from
    apps). read_pressure: memory stalls (PSI). read_block_devices: /sys/block. write_frequency: cpufreq's upper limit.
    """

    root_user: bool
    read_temperatures: bool | None
    read_battery: bool | None
    read_load: bool | None
    read_pressure: bool | None
    read_block_devices: bool | None
    write_frequency: bool | None


def check_permissions(root: Path) -> Permissions:
    thermal = root / "sys/class/thermal"
    policies = numbered_folders(root / "sys/devices/system/cpu/cpufreq", "policy")
    limits = [policy / "scaling_max_freq" for policy in policies]
    return Permissions(
        root_user=os.geteuid() == 0,
        read_temperatures=_any_readable(thermal, [zone / "temp" for zone in numbered_folders(thermal, "thermal_zone")]),
        read_battery=_listable(root / "sys/class/power_supply", is_none_empty=True),
        read_load=_readable(root / "proc/stat"),
        read_pressure=_readable(root / "proc/pressure/memory"),
        read_block_devices=_listable(root / "sys/block"),
        write_frequency=any(os.access(limit, os.W_OK) for limit in limits) if limits else None,
    )


def selinux_mode(root: Path, properties: Properties) -> Known[str] | None:
    """ "enforcing", "permissive", or "absent" where the kernel has no SELinux mounted and this is not Android."""
    mode = {"1": "enforcing", "0": "permissive"}.get(read_line(str(root / "sys/fs/selinux/enforce")) or "")
    if mode:
        return Known(mode, "/sys/fs/selinux/enforce")
    booted = properties.known("ro.boot.selinux")
    if booted and booted.value in ("enforcing", "permissive"):
        return booted
    if not properties and os.path.isdir(root / "sys/fs") and not os.path.isdir(root / "sys/fs/selinux"):
        return Known("absent", "/sys/fs")
    return None


def selinux_context(root: Path) -> str | None:
    """ "u:r:untrusted_app_27:s0:c512,c768" for an app; None without SELinux."""
    context = read_line(str(root / "proc/self/attr/current"))
    return context if context and context.count(":") >= 3 else None


def _any_readable(folder: Path, files: list[Path]) -> bool | None:
    if not files:
        return None if _listable(folder) is not False else False
    return any(read_line(str(file)) is not None for file in files)


def _readable(file: Path) -> bool | None:
    return read_line(str(file)) is not None if os.path.lexists(file) else None


def _listable(folder: Path, *, is_none_empty: bool = False) -> bool | None:
    """is_none_empty: an empty folder counts as not there: the kernel has one for devices that no machine must have."""
    try:
        names = os.listdir(folder)
    except PermissionError:
        return False
    except (OSError, ValueError):
        return None
    return None if is_none_empty and not names else True
