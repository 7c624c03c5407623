"""Who says whether the network is paid for by the byte, and who is believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pocketseek.device.network import NetworkFacts, read_network

WIFI = "data/data/com.termux/files/usr/bin/termux-wifi-connectioninfo"
PHONE = "data/data/com.termux/files/usr/bin/termux-telephony-deviceinfo"
DUMPSYS = "system/bin/dumpsys"
BUSCTL, NMCLI = "usr/bin/busctl", "usr/bin/nmcli"
ON_WIFI = '{"ip": "192.168.1.7", "supplicant_state": "COMPLETED", "ssid": "home"}'
OFF_WIFI = '{"ip": "0.0.0.0", "supplicant_state": "DISCONNECTED"}'
ROUTES = "Iface\tDestination\tGateway\tFlags\n{name}\t00000000\t0102A8C0\t0003\n{name}\t0002A8C0\t00000000\t0001\n"
CONNECTIVITY = """Active default network: 101

Current network agents:
  NetworkAgentInfo{{ni{{WIFI}}  network{{100}}  nc{{[ Transports: WIFI Capabilities: NOT_METERED&INTERNET ]}}}}
  NetworkAgentInfo{{ni{{MOBILE}}  network{{101}}  nc{{[ Transports: CELLULAR Capabilities: {metered}INTERNET ]}}}}
"""


def answers(root: Path, programs: dict[str, str | None]) -> Callable[[Sequence[str]], str | None]:
    """The programs are installed under the root and print this."""
    for program in programs:
        (root / program).parent.mkdir(parents=True, exist_ok=True)
        (root / program).touch()
    return lambda command: programs[str(Path(command[0]).relative_to(root))]


@pytest.mark.parametrize(
    ("programs", "facts"),
    [
        ({}, NetworkFacts("unknown")),
        ({WIFI: ON_WIFI}, NetworkFacts("no", "Termux:API")),
        ({WIFI: OFF_WIFI, PHONE: '{"data_state": "connected"}'}, NetworkFacts("yes", "Termux:API")),
        ({WIFI: OFF_WIFI, PHONE: '{"data_state": "disconnected"}'}, NetworkFacts("unknown")),
        ({WIFI: None, PHONE: None}, NetworkFacts("unknown")),
        ({WIFI: "[1", PHONE: "[]"}, NetworkFacts("unknown")),
        ({WIFI: "[" * 100_000}, NetworkFacts("unknown")),
        ({DUMPSYS: CONNECTIVITY.format(metered="")}, NetworkFacts("yes", "dumpsys connectivity")),
        ({DUMPSYS: CONNECTIVITY.format(metered="NOT_METERED&")}, NetworkFacts("no", "dumpsys connectivity")),
        ({DUMPSYS: "Permission Denial"}, NetworkFacts("unknown")),
        ({BUSCTL: "u 1\n"}, NetworkFacts("yes", "NetworkManager")),
        ({BUSCTL: "u 4\n"}, NetworkFacts("no", "NetworkManager")),
        ({BUSCTL: "u 0\n"}, NetworkFacts("unknown")),
        ({BUSCTL: None, NMCLI: "no\n\nyes (guessed)\n"}, NetworkFacts("yes", "NetworkManager")),
        ({NMCLI: "no (guessed)\nunknown\n"}, NetworkFacts("no", "NetworkManager")),
    ],
)
def test_who_knows_is_believed(tmp_path: Path, programs: dict[str, str | None], facts: NetworkFacts) -> None:
    assert read_network(tmp_path, answers(tmp_path, programs)) == facts


@pytest.mark.parametrize(("name", "metered"), [("wlan0", "unknown"), ("rmnet_data0", "yes"), ("wwan0", "yes")])
def test_a_modem_is_taken_to_be_paid_for(tmp_path: Path, name: str, metered: str) -> None:
    (tmp_path / "proc" / "net").mkdir(parents=True)
    (tmp_path / "proc" / "net" / "route").write_text(ROUTES.format(name=name))
    assert read_network(tmp_path, answers(tmp_path, {})).metered == metered
