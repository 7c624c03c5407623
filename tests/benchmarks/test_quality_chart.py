"""benchmarks/quality_chart.py: the picture's geometry, read back out of the SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

from quality_chart import Point, render_chart

SVG = "{http://www.w3.org/2000/svg}"


def drawn(points: list[Point]) -> tuple[list[dict[str, str]], list[ElementTree.Element]]:
    """Dots of points (those of the legend are above), and names of points."""
    root = ElementTree.fromstring(render_chart(points))
    dots = [dict(one.attrib) for one in root.iter(f"{SVG}circle") if float(one.attrib["cy"]) > 30]
    return dots, [one for one in root.iter(f"{SVG}text") if one.attrib.get("font-size") == "11"]


def test_less_loss_is_lower_and_more_bits_is_further_right() -> None:
    dots, _ = drawn([Point("a", "ours", True, 4.2, 0.001), Point("b", "peer", True, 4.5, 0.004)])
    assert float(dots[0]["cx"]) < float(dots[1]["cx"])
    assert float(dots[0]["cy"]) > float(dots[1]["cy"])


def test_equal_ratios_of_loss_are_equal_distances() -> None:
    dots, _ = drawn([Point(name, "ours", True, 4.2, kl) for name, kl in (("a", 0.001), ("b", 0.004), ("c", 0.016))])
    first, second, third = (float(dot["cy"]) for dot in dots)
    assert abs((first - second) - (second - third)) < 0.2


def test_calibrated_points_are_filled_and_makers_have_colours_of_their_own() -> None:
    dots, _ = drawn([Point("a", "ours", True, 4.2, 0.001), Point("b", "peer", False, 4.5, 0.004)])
    assert dots[0]["fill"] == dots[0]["stroke"]
    assert dots[1]["fill"] == "#ffffff"
    assert dots[0]["stroke"] != dots[1]["stroke"]


def test_names_of_near_points_do_not_lie_on_one_another() -> None:
    _, names = drawn([Point(f"point {i}", "ours", True, 4.2 + i / 1000, 0.001) for i in range(6)])
    places = [(float(one.attrib["x"]), float(one.attrib["y"])) for one in names]
    width, height = 6.5 * len("point 0"), 10
    overlapping = [
        (i, k)
        for i in range(len(places))
        for k in range(i)
        if abs(places[i][0] - places[k][0]) < width and abs(places[i][1] - places[k][1]) < height
    ]
    assert overlapping == []


def test_names_are_escaped_and_points_without_loss_left_out() -> None:
    _, names = drawn([Point("a<b&c", "ours", True, 4.2, 0.001), Point("copy", "ours", False, 16.0, 0.0)])
    assert [one.text for one in names] == ["a<b&c"]
