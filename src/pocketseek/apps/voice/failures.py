"""What is told of a failure in a voice session: one line, with what to do."""

from __future__ import annotations

from pocketseek.errors import PocketseekError


def failure_line(what: str, error: Exception, remedy: str = "say it again") -> str:
    """Our own errors say what to do; of others one line is made."""
    if isinstance(error, PocketseekError):
        return str(error)
    problem = " ".join(str(error).split())[:160]
    return f"{what} failed ({type(error).__name__}: {problem}); {remedy}"
