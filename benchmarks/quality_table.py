"""What quantisation_quality.py found, as a Markdown table on standard output and as a picture.

    python benchmarks/quality_table.py RESULTS.json [--plot docs/images/quality.svg]

Under the table: for each of the others' rows, which of ours takes no more bytes and is nearer to the source on every
kind of text, by the weights alone, with perplexity over all kinds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quality_chart import Point, render_chart

OURS = "pocketseek"
MOST_BITS = 6.0  # of what the picture shows
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    results = json.loads(arguments.results.read_text())
    print(markdown(results["rows"]))
    print()
    print("\n".join(comparisons(results["rows"])))
    if arguments.plot is not None:
        arguments.plot.write_text(render_chart(points(results["rows"])))


def markdown(rows: Sequence[Row]) -> str:
    """By size, then by loss."""
    kinds = list(rows[0]["weights"]["kinds"])
    names = ("weights", "calibration", "MB", "bits", *(f"KL {kind}" for kind in kinds), "p99 KL", "same token")
    names = (*names, *(f"perplexity {kind}" for kind in kinds), "KL as run")
    lines = [names, ("---", "---", *("---:" for _ in names[2:]))]
    lines += [cells(row) for row in sorted(rows, key=lambda row: (row["num_bytes"], all_kl(row)))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cells(row: Row) -> tuple[str, ...]:
    kinds, everything = row["weights"]["kinds"].values(), row["weights"]["all"]
    return (
        f"{row['maker']} {row['name']}",
        row["calibration"] or "no",
        f"{row['num_bytes'] / 1e6:.2f}",
        f"{row['bits']:.2f}",
        *(f"{kind['mean_kl']:.5f}" for kind in kinds),
        f"{everything['p99_kl']:.4f}",
        f"{100 * everything['top1_agreement']:.1f} %",
        *(f"{kind['perplexity']:.2f} ({change(kind)})" for kind in kinds),
        f"{row['as_run']['mean_kl']:.5f}",
    )


def change(kind: dict[str, float]) -> str:
    """Of perplexity against the source's."""
    return f"{100 * (kind['perplexity'] / kind['source_perplexity'] - 1):+.2f} %"


def comparisons(rows: Sequence[Row]) -> list[str]:
    ours = [row for row in rows if row["maker"] == OURS]
    lines = []
    for other in (row for row in rows if row["maker"] != OURS):
        better = [row for row in ours if row["num_bytes"] <= other["num_bytes"] and is_nearer(row, other)]
        told = ", ".join(f"{full_name(row)} ({ratio(other, row):.2f} times less KL{perplexity(row)})" for row in better)
        lines.append(f"- {full_name(other)}, {other['bits']:.2f} bits{perplexity(other)}: {told or 'none'}")
    return lines


def is_nearer(row: Row, other: Row) -> bool:
    """By mean KL on every kind of text. Perplexity is told beside it: small changes have either sign by chance."""
    pairs = [(one, other["weights"]["kinds"][kind]) for kind, one in row["weights"]["kinds"].items()]
    return all(one["mean_kl"] < theirs["mean_kl"] for one, theirs in pairs)


def perplexity(row: Row) -> str:
    return f", perplexity {row['weights']['all']['perplexity']:.2f}"


def ratio(other: Row, row: Row) -> float:
    return all_kl(other) / all_kl(row) if all_kl(row) else float("inf")


def all_kl(row: Row) -> float:
    return float(row["weights"]["all"]["mean_kl"])


def full_name(row: Row) -> str:
    return f"{row['maker']} {row['name']}" + (f" with {row['calibration']}" if row["calibration"] else "")


def points(rows: Sequence[Row]) -> list[Point]:
    return [
        Point(row["name"], row["maker"], bool(row["calibration"]), row["bits"], all_kl(row))
        for row in rows
        if row["bits"] <= MOST_BITS
    ]


if __name__ == "__main__":
    main()
