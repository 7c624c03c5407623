"""The page stands alone, is well-formed, and shows what it is given as text."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from pocketseek.apps.load_bench import CURVE_PERCENTS, ClassReport, Latency, LoadReport
from pocketseek.apps.load_page import PageLabels, render_page

LATENCY = Latency(9, 0.2, 0.9, 1.0, tuple(percent / 100 for percent in CURVE_PERCENTS))
FULL, EMPTY = ClassReport(9, LATENCY, LATENCY), ClassReport(0, None, None)
REPORT = LoadReport("mixed", 4, 20.0, 100.0, 200.0, 9.5, 31.6, 3, 128, 20, 10, 0, 0, 17, 64, FULL, FULL, FULL)


def charts(page: str) -> list[ElementTree.Element]:
    pieces = page.split("<svg")[1:]
    return [ElementTree.fromstring("<svg" + piece.split("</svg>")[0] + "</svg>") for piece in pieces]


def test_page_fetches_and_runs_nothing() -> None:
    page = render_page("a title", REPORT, [("label", "value")], PageLabels())
    for forbidden in ("http", "<script", "src=", "@import", "url("):
        assert forbidden not in page


def test_every_class_has_a_line_inside_the_frame_that_only_rises() -> None:
    for chart in charts(render_page("t", REPORT, [], PageLabels())):
        lines = [line.attrib["points"] for line in chart.iter("polyline")]
        assert len(lines) == 3
        for line in lines:
            points = [tuple(map(float, point.split(","))) for point in line.split()]
            assert points == sorted(points, key=lambda point: (point[0], -point[1]))
            assert all(0 <= x <= 400 and 0 <= y <= 280 for x, y in points)


@pytest.mark.parametrize("background", [EMPTY, FULL])
def test_a_class_without_samples_has_no_line(background: ClassReport) -> None:
    report = replace(REPORT, background=background, interactive_alone=None)
    drawn = [len(list(chart.iter("polyline"))) for chart in charts(render_page("t", report, [], PageLabels()))]
    assert drawn == [1 + (background is FULL)] * 2


def test_a_report_without_any_sample_still_makes_a_page() -> None:
    report = replace(REPORT, interactive=EMPTY, background=EMPTY, interactive_alone=None)
    assert "no samples" in render_page("t", report, [], PageLabels())


def test_names_cannot_bring_in_markup() -> None:
    page = render_page("<b>&", REPORT, [("<i>", '"</td>')], PageLabels())
    assert "<b>" not in page
    assert "<i>" not in page
    assert "&lt;b&gt;&amp;" in page
