"""On a phone, a notification while the server runs: touching it opens the page, its button ends the server.

It is Termux:API's (`termux-notification`), where that program is; elsewhere nothing happens. The program talks to an
app, and hangs where that app is missing: it runs in a thread, for ten seconds at most, and the end of the server waits
two for it. That it fails is no reason for anything else to. What Android runs at a touch has another environment, hence
whole paths; and a number of a process that has ended may be another's by then, hence the look at its name.
"""

from __future__ import annotations

import os
import shlex
import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from pocketseek.cli.messages import Words
from pocketseek.cli.serve import serve_messages
from pocketseek.device.programs import run_program

_SHOW, _REMOVE, _OPEN = "termux-notification", "termux-notification-remove", "termux-open-url"
_PATIENCE_S = 2.0


@contextmanager
def serving_notice(words: Words, url: str, models: Sequence[str]) -> Iterator[None]:
    """Shown inside the `with`, gone after it. url: of the page, without secrets: whoever holds the phone reads it."""
    show, remove = shutil.which(_SHOW), shutil.which(_REMOVE)
    if show is None or remove is None:
        yield
        return
    name = f"pocketseek-{os.getpid()}"  # two servers have two
    shown = _start([show, *_options(words, name, url, models)])
    try:
        yield
    finally:
        shown.join(_PATIENCE_S)  # or it would appear after it was taken away
        if not shown.is_alive():
            _start([remove, name]).join(_PATIENCE_S)


def _start(command: Sequence[str]) -> threading.Thread:
    thread = threading.Thread(target=run_program, args=(command,), name="notification", daemon=True)
    thread.start()
    return thread


def _options(words: Words, name: str, url: str, models: Sequence[str]) -> list[str]:
    opener = shutil.which(_OPEN)
    return [
        *("--id", name, "--ongoing", "--alert-once", "--priority", "low"),
        *("--title", words(serve_messages.NOTICE)),
        *("--content", words(serve_messages.READY, url=url, models=", ".join(models))),
        *(("--action", shlex.join((opener, url))) if opener else ()),
        *("--button1", words(serve_messages.NOTICE_STOP), "--button1-action", _stop_action(os.getpid())),
    ]


def _stop_action(process_id: int) -> str:
    """For a shell. SIGINT is what Ctrl-C sends."""
    grep = shlex.quote(shutil.which("grep") or "grep")
    return f"{grep} -q pocketseek /proc/{process_id}/cmdline && kill -INT {process_id}"
