"""The only reader of the environment. Everything else takes arguments.

POCKETSEEK_HOME     data directory (default: $XDG_DATA_HOME/pocketseek, else ~/.local/share/pocketseek)
POCKETSEEK_KERNELS  force one: reference, scalar, avx2, avx-vnni, avx512, neon-dotprod, neon-i8mm
                    (default: the best this CPU has)
POCKETSEEK_THREADS  number of compute threads, 1 to 256 (default: one per performance core that this process may use)
POCKETSEEK_KV       format of keys and values in memory: f16 (default) or q8
POCKETSEEK_TEMPERATURE_LIMIT  °C at the skin or battery above which the pace falls (default: 45; 0 or off: never)
POCKETSEEK_POWER    screen-off: gather background work for longer and run it at half pace (default: auto)
POCKETSEEK_ENGINE   who computes: native (default) or onnx, which is ONNX Runtime
POCKETSEEK_PROVIDER execution provider of ONNX Runtime: QNN, NNAPI, CoreML, XNNPACK, OpenVINO or CPU (default: what
                    fits the device)
POCKETSEEK_PASSPHRASE  of sealed models and data, and of a private key (keygen, sign), where nobody can be asked
POCKETSEEK_NEW_PASSPHRASE  the one that `passwd` sets, likewise
POCKETSEEK_DATA_KEY    file with the key of a data directory that was sealed with one (`seal --data --key-file`)
POCKETSEEK_LANG     language of messages: en or zh (default: from LC_ALL, LC_MESSAGES, LANG)
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from pocketseek.errors import UsageError
from pocketseek.types import EngineKind


@dataclass(frozen=True)
class Settings:
    """What the environment says, read once at the edge."""

    home: Path
    kernels: str | None
    num_threads: int | None
    language: str
    kv: str | None = None
    temperature_limit_c: float | None = None
    screen_off: bool = False
    engine: EngineKind | None = None
    provider: str | None = None
    passphrase: str | None = field(default=None, repr=False)
    new_passphrase: str | None = field(default=None, repr=False)
    data_key_file: Path | None = None

    @property
    def models_dir(self) -> Path:
        return self.home / "models"

    @property
    def conversations_path(self) -> Path:
        return self.home / "conversations.db"

    @property
    def documents_path(self) -> Path:
        return self.home / "documents.db"

    @property
    def summaries_path(self) -> Path:
        return self.home / "summaries.db"

    @property
    def uploads_dir(self) -> Path:
        return self.home / "uploads"

    @property
    def tokens_path(self) -> Path:
        return self.home / "tokens.json"

    @property
    def trust_path(self) -> Path:
        return self.home / "trust.json"

    @property
    def audit_path(self) -> Path:
        return self.home / "audit.log"

    @property
    def keys_dir(self) -> Path:
        return self.home / "keys"


def read_settings(complaints: list[str] | None = None) -> Settings:
    """Read the environment; an empty variable counts as unset.

    Raises UsageError if a variable has an impossible value. With a list of complaints that goes there instead.
    """
    try:
        num_threads = _num_threads()
    except UsageError as error:
        if complaints is None:
            raise
        complaints.append(str(error))
        num_threads = None
    try:
        temperature_limit_c, screen_off = _temperature_limit_c(), _screen_off()
    except UsageError as error:
        if complaints is None:
            raise
        complaints.append(str(error))
        temperature_limit_c, screen_off = None, False
    try:
        engine = _engine()
    except UsageError as error:
        if complaints is None:
            raise
        complaints.append(str(error))
        engine = None
    return Settings(
        home=_home(),
        kernels=os.environ.get("POCKETSEEK_KERNELS", "").lower() or None,
        num_threads=num_threads,
        language=_language(),
        kv=os.environ.get("POCKETSEEK_KV", "").lower() or None,
        temperature_limit_c=temperature_limit_c,
        screen_off=screen_off,
        engine=engine,
        provider=os.environ.get("POCKETSEEK_PROVIDER") or None,
        passphrase=os.environ.get("POCKETSEEK_PASSPHRASE") or None,
        new_passphrase=os.environ.get("POCKETSEEK_NEW_PASSPHRASE") or None,
        data_key_file=Path(path) if (path := os.environ.get("POCKETSEEK_DATA_KEY")) else None,
    )


def _num_threads() -> int | None:
    threads = os.environ.get("POCKETSEEK_THREADS")
    if not threads:
        return None
    if not threads.isascii() or not threads.isdigit() or len(threads) > 9 or not 1 <= int(threads) <= 256:
        raise UsageError(f"POCKETSEEK_THREADS is {threads[:40]!r}; set it to a whole number from 1 to 256 or unset it")
    return int(threads)


def parse_temperature_limit(text: str) -> float:
    """ "45", "45.5"; 0 for "0" and "off". Raises UsageError; what is sensible is judged elsewhere."""
    if text.lower() == "off":
        return 0.0
    try:
        limit_c = float(text)
    except ValueError:
        limit_c = -1.0
    if not 0.0 <= limit_c < 1000.0:
        raise UsageError(f"{text[:40]!r} is no temperature limit; write degrees Celsius like 45, or off")
    return limit_c


def _temperature_limit_c() -> float | None:
    text = os.environ.get("POCKETSEEK_TEMPERATURE_LIMIT")
    if not text:
        return None
    try:
        return parse_temperature_limit(text)
    except UsageError as error:
        raise UsageError(f"POCKETSEEK_TEMPERATURE_LIMIT: {error}") from error


def _engine() -> EngineKind | None:
    engine = os.environ.get("POCKETSEEK_ENGINE", "").lower()
    if engine not in ("", "native", "onnx"):
        raise UsageError(f"POCKETSEEK_ENGINE is {engine[:40]!r}; set it to native or onnx, or unset it")
    return "onnx" if engine == "onnx" else "native" if engine else None


def _screen_off() -> bool:
    power = os.environ.get("POCKETSEEK_POWER", "").lower() or "auto"
    if power not in ("auto", "screen-off"):
        raise UsageError(f"POCKETSEEK_POWER is {power[:40]!r}; set it to auto or screen-off, or unset it")
    return power == "screen-off"


def _home() -> Path:
    if home := os.environ.get("POCKETSEEK_HOME"):
        return Path(home).expanduser().absolute()
    if data := os.environ.get("XDG_DATA_HOME"):
        return Path(data).expanduser().absolute() / "pocketseek"
    return Path.home() / ".local" / "share" / "pocketseek"


def _language() -> str:
    names = ("POCKETSEEK_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
    chosen = next((value for name in names if (value := os.environ.get(name))), "en")
    return "zh" if chosen.lower().startswith("zh") else "en"
