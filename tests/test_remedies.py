"""Errors end with what to do: every message that is written out where an error is raised has a remedy in it.

Read from the source, so messages that are put together elsewhere are not seen. "what is wrong; what to do" is the usual
form; a command in back quotes, and a plain "must be", "needs" or "give" for what was typed, say it too.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pocketseek

SOURCE = Path(pocketseek.__file__).parent
ERRORS = {
    node.name
    for node in ast.parse((SOURCE / "errors.py").read_text("utf-8")).body
    if isinstance(node, ast.ClassDef) and node.name.endswith("Error")
}
REMEDY = re.compile(r"; |`|\bmust be\b|\bneeds\b|\bgive\b|\bname what\b")
INNER = re.compile(r"\{(error|problem|reason|remedy|rest|_NO_\w+\[\w+\])\}")  # the remedy of what is told on


def text_of(node: ast.expr) -> str | None:
    """With {expression} for what is filled in; None if it is not written out here."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) or "" for value in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None or right is None else left + right
    return None


def raised() -> Iterator[tuple[str, str]]:
    """(place, message)."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
                continue
            call = node.exc
            if isinstance(call.func, ast.Name) and call.func.id in ERRORS and call.args:
                message = text_of(call.args[0])
                if message is not None:
                    yield f"{path.relative_to(SOURCE)}:{node.lineno}", message


def test_every_message_has_a_remedy() -> None:
    messages = list(raised())
    assert len(messages) > 500  # they are found at all
    silent = [f"{place}: {text}" for place, text in messages if not (REMEDY.search(text) or INNER.search(text))]
    assert silent == []


def test_no_message_ends_with_a_full_stop_or_has_several_lines() -> None:
    untidy = [f"{place}: {text}" for place, text in raised() if text.endswith((".", ". ")) or "\n" in text]
    assert untidy == []
