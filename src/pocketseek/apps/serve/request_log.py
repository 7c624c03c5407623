"""What the server writes down of requests: who asked which model, never what. Bodies only if `log_prompts` is set."""

from __future__ import annotations

import logging

from pocketseek.apps.serve.access import Caller

_POLLED = frozenset({"/api/status", "/health", "/metrics"})  # asked for every second: a line each would hide the others
_log = logging.getLogger("pocketseek.serve")


class RequestLog:
    def __init__(self, *, log_prompts: bool) -> None:
        self._log_prompts = log_prompts

    def question(self, caller: Caller, model: str, body: bytes) -> None:
        _log.info("%s asks %s", caller.name, model)
        if self._log_prompts:
            _log.info("%s sent %s", caller.name, ascii(body.decode("utf-8", "replace")))

    def response(self, method: str, route: str, status: int, seconds: float) -> None:
        level = logging.DEBUG if route in _POLLED and status < 400 else logging.INFO
        _log.log(level, "%s %s %d %.3f s", method, route, status, seconds)
