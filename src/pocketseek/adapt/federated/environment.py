"""The environment that has Flower, and how a job runs in it.

Flower pins versions of libraries that pocketseek uses in others (typer, starlette, cryptography), so the two cannot be
installed side by side. What runs there sees pocketseek's package alone, not the libraries beside it.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import venv
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pocketseek
from pocketseek import errors
from pocketseek.adapt.federated.jobs import FLOWER, Job, to_json
from pocketseek.errors import DownloadError, PocketseekError, UnsupportedError
from pocketseek.libraries import is_termux
from pocketseek.package.storage import storage_errors

REQUIREMENTS = (
    "torch>=2.1",
    "accelerate>=1",
    "safetensors>=0.4",
    "numpy>=1.26",
    "tokenizers>=0.20",
    "jinja2>=3.1.5",
)
MODULE = "pocketseek.adapt.federated.process"
OnEvent = Callable[[str, Mapping[str, Any]], None]


def default_python(home: Path) -> Path:
    return home / "federated-env" / "bin" / "python"


def find_python(home: Path, configured: Path | None) -> Path:
    """Raises UnsupportedError with what to do."""
    python = configured or default_python(home)
    if not python.is_file() or not os.access(python, os.X_OK):
        where = "POCKETSEEK_FEDERATED_PYTHON names no Python" if configured else "Flower is not set up"
        raise UnsupportedError(f"{where} ({python}); run `pocketseek adapt federate setup`")
    return python


def requirements(*, simulation: bool) -> list[str]:
    """Exactly this Flower: the server and the devices use parts of it that may change from one version to the next."""
    flower = f"flwr[simulation]=={FLOWER}.*" if simulation else f"flwr=={FLOWER}.*"
    own = [one for one in REQUIREMENTS if not (is_termux() and one.startswith(("torch", "numpy")))]  # pkg has those
    return [flower, *own]


def set_up(home: Path, *, simulation: bool, tell: Callable[[str], None] = lambda line: None) -> Path:
    """Make it, or bring it up to date; its Python. tell: lines of pip. Raises DownloadError, StorageError."""
    python = default_python(home)
    folder = python.parent.parent
    with storage_errors(folder):
        venv.create(folder, with_pip=True, system_site_packages=is_termux(), clear=False)
    command = [str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    with subprocess.Popen(
        [*command, *requirements(simulation=simulation)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as pip:
        assert pip.stdout is not None
        last = ""
        for line in pip.stdout:
            last = line.strip() or last
            tell(line.strip())
    if pip.returncode:
        raise DownloadError(
            f"pip could not install Flower ({last[:200]}); see that the network can be reached, try again"
        )
    return python


def run_in(python: Path, job: Job, log: Path, environment: Mapping[str, str], on_event: OnEvent) -> None:
    """Until it ends. log: what Flower says. Raises what ended it; interrupted, it ends the job first."""
    with storage_errors(log), tempfile.TemporaryDirectory(prefix="pocketseek-federated-") as folder:
        seen, file = Path(folder) / "path", Path(folder) / "job.json"
        seen.mkdir()
        (seen / "pocketseek").symlink_to(Path(pocketseek.__file__).parent, target_is_directory=True)
        file.write_text(to_json(job), "utf-8")
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with log.open("ab") as said:
            process = subprocess.Popen(
                [str(python), "-m", MODULE, str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**environment, "PYTHONPATH": str(seen)},
            )
        try:
            error = _follow(process, on_event)
        finally:
            _end(process)
    if error is not None:
        raise error
    if process.returncode:
        raise PocketseekError(f"the federated process ended unexpectedly ({process.returncode}); {log} tells why")


def _follow(process: subprocess.Popen[bytes], on_event: OnEvent) -> PocketseekError | None:
    error = None
    assert process.stdout is not None
    for line in process.stdout:
        with suppress(ValueError):  # something else that wrote there
            values = json.loads(line)
            event = str(values.pop("event"))
            if event == "error":
                error = _error(str(values["kind"]), str(values["message"]))
            else:
                on_event(event, values)
    process.wait()
    return error


def _error(kind: str, message: str) -> PocketseekError:
    found = getattr(errors, kind, PocketseekError)
    return found(message) if issubclass(found, PocketseekError) else PocketseekError(message)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
