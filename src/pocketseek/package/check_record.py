"""`checked.json` in a package: when each chunk was last hashed and found good, in Unix seconds.

It says when a chunk is due again (apps/repository/scrub.py) and what `inspect` shows; it vouches for nothing (that is
marker.py). A missing or damaged record means that nobody knows, and one that cannot be written is no error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pocketseek.package.paths import CHECKED_NAME
from pocketseek.package.side_record import read_side_record, write_side_record

_LATEST_S = 2**37  # after the year 6000


def read_checked(package_dir: Path) -> Mapping[str, int]:
    """Times by chunk hash."""
    times = read_side_record(package_dir, CHECKED_NAME)
    return {sha256: time_s for sha256, time_s in times.items() if isinstance(time_s, int) and 1 < time_s < _LATEST_S}


def note_checked(package_dir: Path, chunks: Iterable[str], time_s: int) -> None:
    """These chunks were found good at that time; what is known of others stays."""
    write_checked(package_dir, {**read_checked(package_dir), **dict.fromkeys(chunks, time_s)})


def forget_checked(package_dir: Path, sha256: str) -> None:
    """This chunk was found damaged."""
    times = read_checked(package_dir)
    if sha256 in times:
        write_checked(package_dir, {one: time_s for one, time_s in times.items() if one != sha256})


def write_checked(package_dir: Path, times: Mapping[str, int]) -> None:
    write_side_record(package_dir, CHECKED_NAME, times)
