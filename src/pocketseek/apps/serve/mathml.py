"""Formulas in LaTeX to MathML, which browsers draw themselves; the only module that knows latex2mathml.

The library's tree is written out here, element by element, from lists of what is allowed, with all text escaped: a
formula comes from a model and may hold anything. What cannot be converted (unknown, too long, too deep, a macro) is
shown as it was written. Not covered: numbered equations, macros, packages.
"""

from __future__ import annotations

import re
from html import escape, unescape
from xml.etree.ElementTree import Element

from latex2mathml import exceptions
from latex2mathml.converter import Converter

MAX_FORMULA_CHARS = 2000
_MAX_DEPTH = 100
_ELEMENT_NAMES = (
    "math mrow mi mn mo mtext mspace mfrac msqrt mroot msub msup msubsup munder mover munderover mmultiscripts"
    " mprescripts none mtable mtr mtd mlabeledtr mstyle mpadded mphantom menclose merror"
)
_ATTRIBUTE_NAMES = (
    "display displaystyle scriptlevel mathvariant stretchy fence form separator lspace rspace minsize maxsize"
    " symmetric largeop movablelimits accent accentunder linethickness width height depth voffset columnalign"
    " rowspacing columnspacing notation"
)
_ELEMENTS = frozenset(_ELEMENT_NAMES.split())
_ATTRIBUTES = frozenset(_ATTRIBUTE_NAMES.split())
_SAFE_VALUE = re.compile(r"[-+.%\w ]{0,60}", re.ASCII)
_MACROS = re.compile(r"\\(?:(?:re)?newcommand|providecommand|[gex]?def|let|newenvironment|href|url|style|class)\b")
# The library has no base class for its complaints, and stumbles over some inputs as any parser of its age does.
_REFUSALS: tuple[type[Exception], ...] = (
    exceptions.NumeratorNotFoundError,
    exceptions.DenominatorNotFoundError,
    exceptions.ExtraLeftOrMissingRightError,
    exceptions.MissingSuperScriptOrSubscriptError,
    exceptions.DoubleSubscriptsError,
    exceptions.DoubleSuperscriptsError,
    exceptions.NoAvailableTokensError,
    exceptions.InvalidStyleForGenfracError,
    exceptions.MissingEndError,
    exceptions.InvalidAlignmentError,
    exceptions.InvalidWidthError,
    exceptions.LimitsMustFollowMathOperatorError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,  # includes RecursionError and a StopIteration inside a generator
    StopIteration,
)


def render_formula(latex: str, *, display: bool) -> str:
    """HTML of a formula: a `math` element, or the source in a `code` element."""
    source = latex.strip()
    if len(source) <= MAX_FORMULA_CHARS and not _MACROS.search(source):
        try:
            tree = Converter(display="block" if display else "inline").convert_to_element(source)
            return _written(tree, 0)
        except _REFUSALS:
            pass
    kind = "tex block" if display else "tex"
    return f'<code class="{kind}">{escape(source)}</code>'


def _written(element: Element, depth: int) -> str:
    """The element and what is in it. Raises ValueError for what is not on the lists."""
    if element.tag not in _ELEMENTS or depth > _MAX_DEPTH:
        raise ValueError(f"{element.tag!r} is no element for a page")
    inside = "".join(_written(child, depth + 1) + _text(child.tail) for child in element)
    return f"<{element.tag}{_attributes(element)}>{_text(element.text)}{inside}</{element.tag}>"


def _text(text: str | None) -> str:
    """The library writes characters as references; they are read, and then everything is escaped."""
    return escape(unescape(text or ""))


def _attributes(element: Element) -> str:
    allowed = ((k, v) for k, v in element.attrib.items() if k in _ATTRIBUTES and _SAFE_VALUE.fullmatch(v))
    return "".join(f' {name}="{value}"' for name, value in allowed)
