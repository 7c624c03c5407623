from __future__ import annotations

import pytest

from pocketseek.convert.encode import Loss
from pocketseek.convert.quality import QualityReport


def test_exact_matrices_report_no_error() -> None:
    report = QualityReport()
    report.add("layer.0.q", "q4s", Loss())
    assert report.to_json() == {"exact": True, "formats": {"q4s": {"matrices": 1, "exact_matrices": 1}}}


def test_errors_are_pooled_over_lossy_matrices_and_the_worst_is_named() -> None:
    report = QualityReport()
    report.add("layer.0.q", "q4s", Loss(1.0, 100.0, False))
    report.add("layer.0.k", "q4s", Loss(9.0, 100.0, False))
    report.add("layer.0.v", "q4s", Loss())
    formats = report.to_json()["formats"]
    assert formats == {
        "q4s": {
            "matrices": 3,
            "exact_matrices": 1,
            "relative_rms_error": pytest.approx((10 / 200) ** 0.5, rel=1e-3),
            "worst_tensor": "layer.0.k",
            "worst_relative_rms_error": 0.3,
        }
    }
    assert report.to_json()["exact"] is False


def test_figures_have_four_digits() -> None:
    report = QualityReport()
    report.add("head.weight", "q8s", Loss(1.0, 3.0, False))
    assert "0.5774" in str(report.to_json())
    assert "0.57735" not in str(report.to_json())
