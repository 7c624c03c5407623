"""The points of a chart are means of neighbours, and no sample is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.report.curve import MAX_POINTS, averaged, interval_of
from pocketseek.apps.report.record import Samples


def samples(times_s: list[float]) -> Samples:
    return Samples(time_s=tuple(times_s))


@given(st.integers(1, 700), st.floats(0.9, 1.1))
def test_few_points_in_order_with_the_mean_of_all(num_samples: int, step_s: float) -> None:
    some = samples([step_s * (index + 1) for index in range(num_samples)])
    points = averaged(some, [float(index) for index in range(num_samples)])
    assert len(points) == min(num_samples, MAX_POINTS)
    assert points == sorted(points)
    assert all(0 < x < some.time_s[-1] and y is not None for x, y in points)
    assert interval_of(some) == pytest.approx(some.time_s[-1] / len(points))


def test_unknown_values_are_left_out_and_an_interval_of_them_is_a_gap() -> None:
    some = samples([float(second) for second in range(1, 2 * MAX_POINTS + 1)])
    values = [None, 2.0, None, None, 3.0, 5.0, *[0.0] * (2 * MAX_POINTS - 6)]
    assert [y for _, y in averaged(some, values)][:3] == [2.0, None, 4.0]
    assert averaged(some, values, 60.0)[0][0] == pytest.approx(1 / 60)
