"""How long a server may take, and how often it is asked again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """read_s: to send anything at all. header_s: an answer's headers, whole. In each window_s of waiting for a body,
    least_bytes_per_s have to come."""

    connect_s: float = 15.0
    read_s: float = 30.0
    header_s: float = 30.0
    max_header_bytes: int = 128 * 1024
    window_s: float = 30.0
    least_bytes_per_s: float = 1000.0


@dataclass(frozen=True)
class Persistence:
    """Tries in a row without progress, with pauses that double. first_tries: before anything came.
    longest_asked_s: the longest pause that a server may ask for."""

    tries: int = 8
    first_tries: int = 3
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0
    longest_asked_s: float = 120.0
    max_redirects: int = 5
