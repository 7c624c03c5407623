"""A quality report in sentences; what is not in it, or not as we write it, is left out."""

from __future__ import annotations

from typing import Any

import pytest

from pocketseek.cli.messages import Words
from pocketseek.cli.models.quality_view import quality_lines

TEXT = {
    "mean_kl": 0.25,
    "p99_kl": 2.5,
    "top1_agreement": 0.75,
    "perplexity": 12.5,
    "source_perplexity": 11.0,
    "positions": 100,
}


def report(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "exact": False,
        "formats": {
            "f16": {"matrices": 2, "exact_matrices": 2},
            "q4p": {
                "matrices": 12,
                "exact_matrices": 1,
                "relative_rms_error": 0.0834,
                "worst_tensor": "layer.0.o",
                "worst_relative_rms_error": 0.1,
            },
        },
        "calibration": {
            "tokens": 2048,
            "matrices": 12,
            "relative_output_error": 0.0004,
            "worst_tensor": "layer.1.k",
            "worst_relative_output_error": 0.0025,
        },
        "held_out": {"source_types": ["F16", "Q4_1"], "kinds": {"novel": TEXT}, "all": TEXT},
    }
    return values | changes


def lines(**changes: Any) -> list[str]:
    return quality_lines(report(**changes), Words("en"))


def test_weights_outputs_and_texts_are_told() -> None:
    exact, rounded, outputs, against, novel, everything = lines()
    assert exact == "f16: as the checkpoint has them (matrices: 2)"
    assert rounded.startswith("q4p: relative error 8.34 %, at worst 10.00 % (layer.0.o)")
    assert "off by 2.00 % there, at worst 5.00 % (layer.1.k)" in outputs
    assert "quantised before (Q4_1)" in against
    assert novel.startswith("novel: KL 0.2500 nats")
    assert everything.startswith("all texts: KL")


def test_a_source_in_full_precision_is_not_said_to_be_quantised() -> None:
    told = lines(held_out={"source_types": ["BF16"], "kinds": {"novel": TEXT}, "all": TEXT})
    assert not any("quantised" in line for line in told)


def test_an_exact_package_has_one_line() -> None:
    assert quality_lines({"exact": True, "formats": report()["formats"]}, Words("en")) == [
        "all weights are those of the checkpoint, bit for bit"
    ]


def test_what_was_not_measured_is_said_with_the_way_to_it() -> None:
    told = quality_lines({"exact": False, "formats": report()["formats"]}, Words("en"))
    assert "--check" in told[-1]


def test_chinese_has_as_many_lines() -> None:
    assert len(quality_lines(report(), Words("zh"))) == len(lines())


@pytest.mark.parametrize("value", [None, 3, "x", [], {}, {"q4p": None}, {"q4p": {"matrices": "many"}}, [1]])
@pytest.mark.parametrize("key", ["formats", "calibration", "held_out"])
def test_what_another_program_wrote_otherwise_is_left_out(key: str, value: object) -> None:
    untouched = lines()
    told = lines(**{key: value})
    assert 0 < len(told) <= len(untouched)


@pytest.mark.parametrize("key", list(TEXT)[:5])
def test_a_text_without_one_of_its_figures_is_left_out(key: str) -> None:
    told = lines(held_out={"kinds": {"novel": TEXT | {key: "?"}, "other": TEXT}, "all": TEXT})
    assert not any(line.startswith("novel") for line in told)
    assert any(line.startswith("other") for line in told)


def test_impossible_errors_are_not_told() -> None:
    assert not any(
        line.startswith("calibrated")
        for line in lines(calibration=report()["calibration"] | {"relative_output_error": -1})
    )
