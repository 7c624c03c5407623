"""Charts keep to their frame, leave gaps where nothing is known and have round axes."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pocketseek.apps.svg_chart import Axis, Line, line_chart, round_axis, time_axis

_VALUES = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda value: round(value, 3)), min_size=1)


def drawing(chart: str) -> ElementTree.Element:
    return ElementTree.fromstring(f"<figure>{chart}</figure>")


@given(_VALUES, st.booleans())
def test_an_axis_holds_all_values_in_few_steps(values: list[float], from_zero: bool) -> None:
    axis = round_axis(values, from_zero=from_zero)
    slack = axis.step * 1e-6
    assert axis.low - slack <= min(values)
    assert max(values) <= axis.high + slack
    assert 1 <= axis.num_steps <= 6
    assert not from_zero or axis.low <= 0


@given(st.floats(0.01, 100_000))
def test_an_axis_of_time_holds_all_of_it_in_few_steps(longest: float) -> None:
    axis = time_axis(longest, "s")
    assert axis.low == 0
    assert longest <= axis.high * (1 + 1e-6)
    assert 1 <= axis.num_steps <= 6


@pytest.mark.parametrize("longest", [30, 60, 120, 600])
def test_an_axis_of_time_ends_where_people_stop(longest: float) -> None:
    assert time_axis(longest, "s").high == longest


@given(_VALUES)
def test_lines_stay_inside_the_frame(values: list[float]) -> None:
    points = [(float(x), value) for x, value in enumerate(values)]
    x, y = round_axis(point[0] for point in points), round_axis(values, from_zero=False)
    for line in drawing(line_chart("c", [Line("a", points, 0)], x, y)).iter("polyline"):
        for place in line.attrib["points"].split():
            left, top = map(float, place.split(","))
            assert 0 <= left <= 400
            assert 0 <= top <= 220


def test_unknown_values_cut_a_line_and_a_lonely_one_is_a_dot() -> None:
    points = [(0.0, 1.0), (1.0, 2.0), (2.0, None), (3.0, None), (4.0, 3.0)]
    lines = list(drawing(line_chart("c", [Line("a", points, 0)], Axis(0, 1, 4), Axis(0, 1, 4))).iter("polyline"))
    assert [len(line.attrib["points"].split()) for line in lines] == [2, 2]
    assert len(set(lines[1].attrib["points"].split())) == 1


def test_only_several_lines_need_a_legend_and_names_are_text() -> None:
    axis = Axis(0, 1, 2)
    one = Line("<b>", [(0.0, 1.0)], 0)
    assert "legend" not in line_chart("c", [one], axis, axis)
    chart = line_chart("<c>", [one, Line("b", [(0.0, 2.0)], 1, dashed=True)], axis, axis)
    assert [item.text or item[-1].tail for item in drawing(chart).iter("li")] == ["<b>", "b"]
    assert "dashed" in chart
