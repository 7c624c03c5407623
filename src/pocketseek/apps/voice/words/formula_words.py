"""Short formulas in LaTeX as words and signs that the rules for numbers and signs go on with.

    \\frac{1}{2} \\times x^2  ->  "1/2 × x^2";  \\boxed{42}  ->  "42"

Only what models write into their sentences: fractions, powers, roots, Greek letters, signs. A command that is not
known is read by its name.
"""

from __future__ import annotations

import re

_SIGNS = {
    "times": "×",
    "cdot": "×",
    "div": "÷",
    "pm": "±",
    "leq": "≤",
    "le": "≤",
    "geq": "≥",
    "ge": "≥",
    "neq": "≠",
    "ne": "≠",
    "approx": "≈",
    "to": ",",
    "infty": "∞",
    "circ": "°",
    "degree": "°",
    "percent": "%",
}
_SILENT = {
    "left",
    "right",
    "quad",
    "qquad",
    "displaystyle",
    "limits",
    "big",
    "Big",
    "text",
    "mathrm",
    "mathbf",
    "boxed",
}
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
_ROOT = re.compile(r"\\sqrt\s*\{([^{}]*)\}")
_WRAPPER = re.compile(r"\\(?:boxed|text|mathrm|mathbf|operatorname)\s*\{([^{}]*)\}")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_DEPTH = 8  # of nested braces; more is no sentence


def formula_words(latex: str) -> str:
    """What is between the signs that mark a formula."""
    for _ in range(_DEPTH):
        before = latex
        latex = _WRAPPER.sub(r"\1", latex)
        latex = _ROOT.sub(r"√\1", latex)
        latex = _FRACTION.sub(_fraction, latex)
        if latex == before:
            break
    latex = _COMMAND.sub(lambda found: "" if found[1] in _SILENT else f" {_SIGNS.get(found[1], found[1])} ", latex)
    latex = latex.replace("\\,", " ").replace("\\%", "%").replace("\\$", "$").replace("^ °", "°")
    return " ".join(re.sub(r"[{}\\]", "", latex).split())


def _fraction(found: re.Match[str]) -> str:
    above, below = found[1].strip(), found[2].strip()
    return f"{above}/{below}" if above.isalnum() and below.isalnum() else f"{above} ÷ {below}"
