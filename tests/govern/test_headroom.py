"""Android's headroom as a temperature."""

import pytest

from pocketseek.device.sensor_facts import SensorFacts
from pocketseek.govern.headroom import with_headroom


@pytest.mark.parametrize(("headroom", "celsius"), [(0.9, 45.0), (1.0, 48.0), (0.0, 18.0)])
def test_its_degrees_do_not_depend_on_the_set_point_and_its_age_is_kept(headroom: float, celsius: float) -> None:
    facts = SensorFacts(7.0, thermal_headroom=headroom, thermal_headroom_age_s=3.0)
    (temperature,) = with_headroom(facts).temperatures
    assert temperature.celsius == pytest.approx(celsius)
    assert temperature.age_s == 3.0


def test_without_it_nothing_is_added() -> None:
    facts = SensorFacts(7.0)
    assert with_headroom(facts) is facts
