"""Is what is fetched over the network paid for by the byte? Reads, never decides; "unknown" where nothing tells.

Linux: NetworkManager's word (busctl, else nmcli), else the kind of interface that the default route goes through.
Android: Termux:API, which knows whether there is Wi-Fi and whether there is mobile data, or `dumpsys connectivity`
where it may be read. `root` stands for "/", also for where programs are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pocketseek.device.programs import Run, run_program
from pocketseek.device.reading import read_bytes

Metered = Literal["yes", "no", "unknown"]

_ROOT = Path("/")
_TERMUX_BIN = "data/data/com.termux/files/usr/bin"
_BUSCTL = (
    "--system",
    "--timeout=2",
    "get-property",
    "org.freedesktop.NetworkManager",
    "/org/freedesktop/NetworkManager",
    "org.freedesktop.NetworkManager",
    "Metered",
)
_BY_NUMBER: dict[str, Metered] = {"u 1": "yes", "u 2": "no", "u 3": "yes", "u 4": "no"}  # 3, 4: as it guesses
_MOBILE = re.compile(r"(?:rmnet|wwan|ppp|ccmni|pdp|usb_rmnet)[\w.]*")
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class NetworkFacts:
    """source: who says so; empty if nobody does."""

    metered: Metered
    source: str = ""


def read_network(root: Path = _ROOT, run: Run = run_program) -> NetworkFacts:
    """Asks programs, which may take seconds. The first that knows is believed."""
    for source, ask in (
        ("Termux:API", _from_termux),
        ("dumpsys connectivity", _from_dumpsys),
        ("NetworkManager", _from_network_manager),
        ("default route", _from_route),
    ):
        metered = ask(root, run)
        if metered != "unknown":
            return NetworkFacts(metered, source)
    return NetworkFacts("unknown")


def _from_termux(root: Path, run: Run) -> Metered:
    wifi = _json(_run(root, run, (f"{_TERMUX_BIN}/termux-wifi-connectioninfo",)))
    if wifi.get("supplicant_state") == "COMPLETED" and wifi.get("ip") not in (None, "", "0.0.0.0"):
        return "no"  # a hotspot that is paid for by the byte looks the same
    phone = _json(_run(root, run, (f"{_TERMUX_BIN}/termux-telephony-deviceinfo",)))
    return "yes" if phone.get("data_state") in ("connected", "2", 2) else "unknown"


def _from_dumpsys(root: Path, run: Run) -> Metered:
    text = _run(root, run, ("system/bin/dumpsys", "connectivity"))
    active = re.search(r"^Active default network: (\d+)\s*$", text, re.MULTILINE)
    if active is None:
        return "unknown"
    agent = re.search(rf"NetworkAgentInfo\{{.*\bnetwork\{{{active[1]}\}}.*", text)
    if agent is None:
        return "unknown"
    return "no" if "NOT_METERED" in agent[0] else "yes"


def _from_network_manager(root: Path, run: Run) -> Metered:
    number = _run(root, run, ("usr/bin/busctl", *_BUSCTL)).strip()
    if number in _BY_NUMBER:
        return _BY_NUMBER[number]
    words = _run(root, run, ("usr/bin/nmcli", "-g", "GENERAL.METERED", "device", "show")).split("\n")
    kinds = {word.split(" ")[0] for word in words}
    return "yes" if "yes" in kinds else "no" if "no" in kinds else "unknown"


def _from_route(root: Path, run: Run) -> Metered:
    """A modem is taken to be paid for; nothing follows from any other interface."""
    table = read_bytes(str(root / "proc/net/route")) or b""
    rows = [line.split() for line in table.decode("ascii", "replace").splitlines()[1:]]
    names = [row[0] for row in rows if len(row) > 3 and row[1] == "00000000"]
    return "yes" if names and all(_MOBILE.fullmatch(name) for name in names) else "unknown"


def _run(root: Path, run: Run, command: Sequence[str]) -> str:
    """What a program under `root` prints; nothing if it is not there."""
    program = root / command[0]
    if not program.is_file():
        return ""
    return (run((str(program), *command[1:])) or "")[:_MOST_BYTES]


def _json(text: str) -> dict[str, object]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
