"""What a package's quality report says of text that it was checked with, as lines for people."""

from __future__ import annotations

from collections.abc import Mapping

from pocketseek.cli import messages
from pocketseek.cli.messages import Words
from pocketseek.package.manifest import JsonValue


def held_out_lines(quality: Mapping[str, JsonValue], words: Words) -> list[str]:
    """A line for each kind of text and one for all; nothing where the package was not checked."""
    report = quality.get("held_out")
    if not isinstance(report, Mapping) or not isinstance(report.get("kinds"), Mapping):
        return []
    kinds = report["kinds"]
    assert isinstance(kinds, Mapping)  # as asked
    rows = [*kinds.items(), (words(messages.HELD_OUT_ALL), report.get("all"))]
    return [line for kind, found in rows if (line := _line(kind, found, words))]


def _line(kind: str, found: JsonValue, words: Words) -> str:
    """Nothing for what somebody else's program wrote otherwise."""
    names = ("mean_kl", "p99_kl", "top1_agreement", "perplexity", "source_perplexity")
    numbers = {name: _number(found.get(name)) for name in names} if isinstance(found, Mapping) else {}
    known = {name: value for name, value in numbers.items() if value is not None}
    if len(known) != len(names):
        return ""
    return words(
        messages.HELD_OUT,
        kind=kind,
        mean_kl=known["mean_kl"],
        p99_kl=known["p99_kl"],
        top1=100 * known["top1_agreement"],
        perplexity=known["perplexity"],
        source=known["source_perplexity"],
    )


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
