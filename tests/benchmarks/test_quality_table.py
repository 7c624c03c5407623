"""benchmarks/quality_table.py: rows in, a Markdown table and who is nearer at no more bytes out."""

from __future__ import annotations

from typing import Any

import quality_table


def row(maker: str, name: str, num_bytes: int, kl: tuple[float, float], calibration: str = "") -> dict[str, Any]:
    def figures(loss: float) -> dict[str, float]:
        return {
            "mean_kl": loss,
            "p99_kl": 10 * loss,
            "top1_agreement": 0.95,
            "perplexity": 20 * (1 + loss),
            "source_perplexity": 20.0,
        }

    weights = {"kinds": {"en": figures(kl[0]), "zh": figures(kl[1])}, "all": figures(sum(kl) / 2)}
    return {
        "maker": maker,
        "name": name,
        "calibration": calibration,
        "num_bytes": num_bytes,
        "bits": num_bytes / 1e6,
        "weights": weights,
        "as_run": figures(2 * sum(kl)),
    }


OURS = row("pocketseek", "q4-pure", 4_200_000, (0.001, 0.002), "GPTQ")
PEER = row("llama.cpp", "Q4_0", 4_500_000, (0.004, 0.005))


def test_the_table_is_in_order_of_size_with_one_cell_for_each_heading() -> None:
    lines = quality_table.markdown([PEER, OURS]).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| pocketseek q4-pure", "| llama.cpp Q4_0"]
    assert len({line.count("|") for line in lines}) == 1


def test_loss_perplexity_and_what_it_is_above_the_source_are_shown() -> None:
    cells = quality_table.cells(OURS)
    assert cells[2:6] == ("4.20", "4.20", "0.00100", "0.00200")
    assert cells[-3:-1] == ("20.02 (+0.10 %)", "20.04 (+0.20 %)")


def test_ours_is_named_beside_a_peer_that_is_no_smaller_and_farther_from_the_source() -> None:
    assert quality_table.comparisons([OURS, PEER]) == [
        "- llama.cpp Q4_0, 4.50 bits, perplexity 20.09: "
        "pocketseek q4-pure with GPTQ (3.00 times less KL, perplexity 20.03)"
    ]


def test_ours_does_not_count_if_it_is_larger_or_farther_on_one_kind() -> None:
    larger = row("pocketseek", "q4", 4_600_000, (0.001, 0.001))
    worse_in_one = row("pocketseek", "q4s", 4_400_000, (0.001, 0.006))
    found = quality_table.comparisons([larger, worse_in_one, PEER])
    assert found == ["- llama.cpp Q4_0, 4.50 bits, perplexity 20.09: none"]


def test_what_is_too_large_for_the_picture_is_left_out_of_it() -> None:
    points = quality_table.points([OURS, row("pocketseek", "q8", 8_500_000, (0.0, 0.0))])
    assert [(point.name, point.is_calibrated, point.bits) for point in points] == [("q4-pure", True, 4.2)]
