"""The findings of `pocketseek doctor` about what is around: the disk, limits, the clock, Android's traps, libraries.

Each finding that is not good ends with what to do. All of them are warnings: a model may still run.
"""

from __future__ import annotations

import datetime
import locale
import resource
import shutil
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from pocketseek.cli.console import format_bytes
from pocketseek.cli.device import doctor_messages as says
from pocketseek.cli.device.device_messages import KINDS
from pocketseek.cli.device.doctor_check import Check
from pocketseek.cli.messages import NONE, Message, Words
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.device.system import TERMUX_PREFIX, is_android, is_termux
from pocketseek.errors import StorageError, UnsupportedError
from pocketseek.libraries import is_termux as is_termuxs_python
from pocketseek.libraries import load_library
from pocketseek.settings import Settings, termux_source

# Optional parts: what each imports, by the name under which pip knows it.
# tests/cli/device/test_doctor_system.py compares them with pyproject.toml.
EXTRAS: Mapping[str, Mapping[str, str]] = {
    "serve": {
        "starlette": "starlette",
        "uvicorn": "uvicorn",
        "wsproto": "wsproto",
        "msgspec": "msgspec",
        "segno": "segno",
        "markdown_it": "markdown-it-py",
        "latex2mathml": "latex2mathml",
        "pygments": "pygments",
        "python_multipart": "python-multipart",
    },
    "pull": {"urllib3": "urllib3"},
    "doc": {"pypdfium2": "pypdfium2", "lxml": "lxml"},
    "constrain": {"llguidance": "llguidance"},
    "secure": {"cryptography": "cryptography", "sqlcipher3": "sqlcipher3"},
    "update": {"zstandard": "zstandard"},
    "onnx": {"onnxruntime": "onnxruntime"},
    "voice": {"onnxruntime": "onnxruntime"},
    "export": {"onnx": "onnx", "onnxruntime": "onnxruntime"},
    "train": {"torch": "torch", "accelerate": "accelerate", "safetensors": "safetensors"},
}
_SHARED_FILESYSTEMS = ("fuse", "sdcardfs", "esdfs", "vfat", "exfat", "msdos", "fuseblk", "ntfs", "ntfs3")
_NETWORK_FILESYSTEMS = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "davfs")
_SLOW_KINDS = ("SD card", "eMMC", "hard disk")
_OTHER_FILES = 64  # libraries, databases, connections
_FIRST_DAY = datetime.date(2026, 1, 1)  # no clock that is right shows an earlier one


def system_checks(settings: Settings, words: Words, *, has_core: bool, root: Path = Path("/")) -> list[Check]:
    """root: that of another device, for tests."""
    facts = check_device(data_dir=settings.home)
    found = [
        _compiler(words, has_core),
        _storage(facts, words),
        _open_files(settings, words),
        _processor_time(facts, words),
        _characters(words),
        _clock(words, datetime.date.today()),
        *_android(words, root),
        *_extras(words),
        *_kept(settings, words),
    ]
    return [check for check in found if check is not None]


def _compiler(words: Words, has_core: bool) -> Check | None:
    """Nobody needs one who has the core."""
    if has_core:
        return None
    label = words(says.COMPILER)
    name = next((name for name in ("c++", "g++", "clang++") if shutil.which(name)), None)
    if name is not None:
        return Check(label, True, words(says.COMPILER_HERE, name=name), warning=True)
    command = "`pkg install clang`" if is_termux(Path("/")) else "`apt install g++`"
    return Check(label, True, words(says.COMPILER_NONE, command=command), warning=True)


def _storage(facts: DeviceFacts, words: Words) -> Check | None:
    """What the data directory lies on."""
    label, filesystem, kind = words(says.WHERE), facts.storage_filesystem, facts.storage_kind
    problem: Message | None = None
    if filesystem in _NETWORK_FILESYSTEMS:
        problem = says.WHERE_NETWORK
    elif filesystem in _SHARED_FILESYSTEMS:
        problem = says.WHERE_SHARED
    elif filesystem in ("tmpfs", "ramfs"):
        problem = says.WHERE_MEMORY
    elif kind in _SLOW_KINDS:
        problem = says.WHERE_SLOW
    if problem is not None:
        return Check(label, True, words(problem, filesystem=filesystem, kind=kind), warning=True)
    if filesystem is None or kind is None:
        return None
    name = words(KINDS[kind]) if kind in KINDS else kind
    return Check(label, True, words(says.WHERE_GOOD, kind=name, filesystem=filesystem))


def _open_files(settings: Settings, words: Words) -> Check:
    """Every chunk of a model is one."""
    label, (limit, hard_limit) = words(says.FILES), resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _OTHER_FILES + max(_num_chunks(settings), default=0)
    if limit == resource.RLIM_INFINITY or limit >= needed:
        return Check(label, True, words(says.FILES_GOOD, limit="∞" if limit == resource.RLIM_INFINITY else limit))
    suggested = max(1024, 2 * needed)
    if hard_limit != resource.RLIM_INFINITY:
        suggested = min(suggested, hard_limit)
    return Check(label, True, words(says.FILES_FEW, limit=limit, needed=needed, suggested=suggested), warning=True)


def _num_chunks(settings: Settings) -> list[int]:
    from pocketseek.package.store import ModelStore

    try:
        return [len(model.manifest.unique_chunks()) for model in ModelStore(settings.models_dir).list()]
    except StorageError:  # told as a finding about the models
        return []


def _processor_time(facts: DeviceFacts, words: Words) -> Check | None:
    if facts.cpu_quota is None or facts.cpu_quota >= 1.0:
        return None
    return Check(words(says.CPU_SHARE), True, words(says.CPU_SHARE_LITTLE, share=facts.cpu_quota), warning=True)


def _characters(words: Words) -> Check | None:
    encoding = getattr(sys.stdout, "encoding", None) or locale.getpreferredencoding(False)
    if encoding.lower().replace("-", "").startswith("utf8"):
        return None
    return Check(words(says.LOCALE), True, words(says.LOCALE_BAD, encoding=encoding), warning=True)


def _clock(words: Words, today: datetime.date) -> Check:
    is_possible = today >= _FIRST_DAY
    message = says.CLOCK_GOOD if is_possible else says.CLOCK_BAD
    return Check(words(says.CLOCK), True, words(message, date=today.isoformat()), warning=not is_possible)


def _android(words: Words, root: Path) -> list[Check]:
    if not is_android(root):
        return []
    has_lock = (root / TERMUX_PREFIX / "bin" / "termux-wake-lock").exists()
    message = says.BACKGROUND_LOCK if has_lock else says.BACKGROUND_NONE
    checks = [Check(words(says.BACKGROUND), True, words(message), warning=not has_lock)]
    if termux_source() == "GOOGLE_PLAY_STORE":
        checks.append(Check(words(says.TERMUX), True, words(says.TERMUX_PLAY), warning=True))
    return checks


def _extras(words: Words) -> list[Check]:
    """Which are here, and a finding for each library that is here and does not load."""
    here = [name for name, libraries in EXTRAS.items() if all(find_spec(library) for library in libraries)]
    missing = [name for name in EXTRAS if name not in here]
    some = says.EXTRAS_SOME_TERMUX if is_termuxs_python() else says.EXTRAS_SOME
    message = some if missing else says.EXTRAS_HERE
    values = {"here": ", ".join(here) or words(NONE), **({"missing": ", ".join(missing)} if missing else {})}
    label = words(says.EXTRAS)
    libraries = {library: package for group in EXTRAS.values() for library, package in group.items()}
    broken = [
        Check(label, True, problem, warning=True)
        for library, package in libraries.items()
        if (problem := _load_problem(library, package, words))
    ]
    return [Check(label, True, words(message, **values)), *broken]


def _load_problem(library: str, package: str, words: Words) -> str:
    if find_spec(library) is None:
        return ""
    try:
        load_library(library, "")
    except UnsupportedError as error:
        message = says.EXTRA_BROKEN_TERMUX if is_termux(Path("/")) else says.EXTRA_BROKEN
        return words(message, library=library, package=package, why=error.__cause__)
    return ""


def _kept(settings: Settings, words: Words) -> list[Check]:
    """What was interrupted and takes space."""
    from pocketseek.package.store import ModelStore

    try:
        unfinished = ModelStore(settings.models_dir).list_unfinished()
    except StorageError:  # told as a finding about the models
        return []
    return [
        Check(
            words(says.UNFINISHED),
            True,
            words(
                says.UNFINISHED_VALUE,
                name=one.name,
                size=format_bytes(one.num_bytes),
                what=words(says.A_DOWNLOAD if one.is_download else says.A_CONVERSION),
            ),
            warning=True,
        )
        for one in unfinished
    ]
