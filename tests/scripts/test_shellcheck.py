"""shellcheck has nothing to say about any shell script (.shellcheckrc says what it is not asked)."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def shell_scripts() -> list[Path]:
    """By their first line, as a shell would tell."""
    found = []
    for path in (*sorted((ROOT / "scripts").iterdir()), *sorted((ROOT / ".ci").iterdir())):
        first = path.read_bytes().split(b"\n", 1)[0] if path.is_file() else b""
        if (first.startswith(b"#!") and first.endswith(b"sh")) or b"shellcheck shell=" in first:
            found.append(path)
    return found


def test_shellcheck_is_silent() -> None:
    shellcheck = shutil.which("shellcheck")
    if shellcheck is None:
        pytest.skip("shellcheck is not here: apt install shellcheck")
    scripts = shell_scripts()
    assert {"setup-termux", "arm64", "demo", "venv.sh", "run"} <= {script.name for script in scripts}
    done = subprocess.run(
        [shellcheck, *(str(script.relative_to(ROOT)) for script in scripts)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
