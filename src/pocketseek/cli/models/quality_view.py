"""What a package's quality report says, as lines for people. What another program wrote otherwise is left out."""

from __future__ import annotations

import math
from collections.abc import Mapping

from pocketseek.cli import messages
from pocketseek.cli.messages import Words
from pocketseek.cli.models import quality_messages
from pocketseek.package.manifest import JsonValue

_PLAIN_TYPES = frozenset({"F32", "F16", "BF16"})


def quality_lines(quality: Mapping[str, JsonValue], words: Words) -> list[str]:
    """Of the weights by format, of outputs where they were calibrated, and of text."""
    return [*weight_lines(quality, words), *calibration_lines(quality, words), *held_out_lines(quality, words)]


def weight_lines(quality: Mapping[str, JsonValue], words: Words) -> list[str]:
    """A line for each format that has something to say."""
    if quality.get("exact") is True:
        return [words(quality_messages.ALL_EXACT)]
    return [line for name, facts in _mapping(quality.get("formats")).items() if (line := _format(name, facts, words))]


def calibration_lines(quality: Mapping[str, JsonValue], words: Words) -> list[str]:
    """Nothing where nothing was calibrated. Errors are told relative to what matrices give out, not squared."""
    facts = _mapping(quality.get("calibration"))
    tokens, matrices = _number(facts.get("tokens")), _number(facts.get("matrices"))
    error, worst = (_number(facts.get(name)) for name in ("relative_output_error", "worst_relative_output_error"))
    if not tokens or not matrices or error is None or worst is None or min(error, worst) < 0:
        return []
    return [
        words(
            quality_messages.OUTPUT_ERROR,
            tokens=int(tokens),
            matrices=int(matrices),
            error=100 * math.sqrt(error),
            worst=100 * math.sqrt(worst),
            tensor=facts.get("worst_tensor"),
        )
    ]


def held_out_lines(quality: Mapping[str, JsonValue], words: Words) -> list[str]:
    """A line for each kind of text and one for all, below one that says against what; or that it was not checked."""
    report = _mapping(quality.get("held_out"))
    rows = [*_mapping(report.get("kinds")).items(), (words(messages.HELD_OUT_ALL), report.get("all"))]
    lines = [line for kind, found in rows if (line := _text(kind, found, words))]
    if lines:
        return [_against(report.get("source_types"), words), *lines]
    return [] if quality.get("exact") is True else [words(quality_messages.NOT_CHECKED)]


def _format(name: str, value: JsonValue, words: Words) -> str:
    facts = _mapping(value)
    matrices, exact = _number(facts.get("matrices")), _number(facts.get("exact_matrices"))
    if matrices is None or exact is None:
        return ""
    if matrices == exact:
        return words(quality_messages.FORMAT_EXACT, format=name, matrices=int(matrices))
    error, worst = (_number(facts.get(key)) for key in ("relative_rms_error", "worst_relative_rms_error"))
    if error is None or worst is None:
        return ""
    return words(
        quality_messages.FORMAT_ROUNDED,
        format=name,
        matrices=int(matrices),
        exact=int(exact),
        error=100 * error,
        worst=100 * worst,
        tensor=facts.get("worst_tensor"),
    )


def _against(value: JsonValue, words: Words) -> str:
    types = [str(one) for one in value] if isinstance(value, list) else []
    if quantised := [one for one in types if one not in _PLAIN_TYPES]:
        return words(quality_messages.CHECKED_QUANTISED, types=", ".join(quantised))
    return words(quality_messages.CHECKED)


def _text(kind: str, found: JsonValue, words: Words) -> str:
    names = ("mean_kl", "p99_kl", "top1_agreement", "perplexity", "source_perplexity")
    numbers = {name: _number(_mapping(found).get(name)) for name in names}
    known = {name: value for name, value in numbers.items() if value is not None}
    if len(known) != len(names):
        return ""
    return words(
        quality_messages.HELD_OUT,
        kind=kind,
        mean_kl=known["mean_kl"],
        p99_kl=known["p99_kl"],
        top1=100 * known["top1_agreement"],
        perplexity=known["perplexity"],
        source=known["source_perplexity"],
    )


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    return value if isinstance(value, Mapping) else {}


def _number(value: JsonValue) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
