"""A sensor is put where its maker's name says, and a name that only begins alike is something else."""

import pytest

from pocketseek.device.sensor_facts import Kind
from pocketseek.device.sensor_names import kind_of


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(
            (name, "soc")
            for name in ("BIG", "MID", "LITTLE", "mid-0", "big_core", "little1", "gold", "cpuss-1", "gpuss-0")
        ),
        *((name, "other") for name in ("midframe", "biglcd", "littlefuse", "goldfinger", "primecam")),
        *((name, "skin") for name in ("skin-therm", "xo-therm", "VIRTUAL-SKIN", "shell_front")),
        *((name, "battery") for name in ("battery", "batt_therm", "bms")),
        ("soc", None),
    ],
)
def test_the_name_tells_the_kind(name: str, kind: Kind | None) -> None:
    assert kind_of(name) == kind
