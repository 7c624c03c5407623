"""`python -m pocketseek.adapt.federated.process JOB`: the program in the environment that has Flower.

Standard output is one JSON object a line, an event each; the last is "done" or "error". Everything else, Flower's own
words too, goes to standard error. It ends when whoever started it ends (its standard input is then at its end).
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from pocketseek.adapt.federated.jobs import from_json, run_job
from pocketseek.errors import PocketseekError


def main(arguments: Sequence[str]) -> int:
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        run_job(from_json(Path(arguments[0]).read_text("utf-8")), lambda event, values: _write(events, event, values))
    except PocketseekError as error:
        _write(events, "error", {"kind": type(error).__name__, "message": str(error)})
        return error.exit_code
    return 0


def _write(events: IO[str], event: str, values: dict[str, Any]) -> None:
    events.write(json.dumps({"event": event, **_finite(values)}) + "\n")
    events.flush()


def _finite(value: Any) -> Any:
    """What is no number in JSON becomes null."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _end_with_parent() -> None:
    while os.read(0, 4096):  # not through sys.stdin, whose lock would be held when Python ends
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
