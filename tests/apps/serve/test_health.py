"""What is told of the device's heat, to whoever asks."""

from dataclasses import replace
from pathlib import Path

import pytest
from api_server import serving
from fakes import FakeExecutor, fake_engine

from pocketseek.apps.model_pool import ServedModel
from pocketseek.apps.serve.health import health
from pocketseek.device.sensor_facts import SensorFacts, Temperature
from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.thermal_governor import ThermalGovernor, ThermalStatus
from pocketseek.runtime.engine import Engine

HOLDING = ThermalStatus("holding", "skin", 0.4212, 0.84251, 2, 1.0, 44.8333, 61.0, 45.0, 85.0, "battery", "battery")


def test_where_nobody_watches_there_is_no_heat() -> None:
    assert health([]) == health([None, None]) == {"status": "ok", "heat": None}


def test_the_place_that_is_held_is_told_with_its_sensor_and_limit() -> None:
    assert health([HOLDING])["heat"] == {
        "state": "holding",
        "temperature_c": 44.8,
        "source": "battery",
        "limit_c": 45.0,
        "share": 0.421,
        "duty": 0.843,
    }


@pytest.mark.parametrize("changes", [{"reason": "chip"}, {"skin_c": None, "sensor": None}])
def test_where_the_chip_decides_it_is_the_chip_that_is_told(changes: dict[str, object]) -> None:
    heat = health([replace(HOLDING, **changes)])["heat"]  # type: ignore[arg-type]  fields of the status
    assert isinstance(heat, dict)
    assert (heat["temperature_c"], heat["source"], heat["limit_c"]) == (61.0, "chip", 85.0)


def test_without_any_sensor_the_limit_is_told_alone() -> None:
    heat = health([replace(HOLDING, state="blind", reason="no sensor", skin_c=None, chip_c=None)])["heat"]
    assert isinstance(heat, dict)
    assert (heat["state"], heat["temperature_c"], heat["source"], heat["limit_c"]) == ("blind", None, None, 45.0)


def test_of_several_engines_the_one_that_is_held_back_most_is_told() -> None:
    heat = health([None, replace(HOLDING, share=0.9), replace(HOLDING, share=0.3)])["heat"]
    assert isinstance(heat, dict)
    assert heat["share"] == 0.3


def test_a_server_tells_what_its_engine_has_seen(tmp_path: Path) -> None:
    skin = Temperature("skin-therm", "skin", 37.2, "skin")
    governor = ThermalGovernor(FixedGovernor(1), lambda: SensorFacts(0.0, (skin,)))

    def open_engine(model: ServedModel) -> Engine:
        return fake_engine(FakeExecutor(), governor=governor)

    with serving(tmp_path, open_engine=open_engine) as served:
        assert served.client.get("/health").json() == {"status": "ok", "heat": None}
        served.chat(max_tokens=4)
        heat = served.client.get("/health").json()["heat"]
    assert (heat["state"], heat["source"], heat["temperature_c"]) == ("free", "skin", pytest.approx(37.2, abs=0.11))
    assert (heat["share"], heat["duty"], heat["limit_c"]) == (1.0, 1.0, 45.0)
