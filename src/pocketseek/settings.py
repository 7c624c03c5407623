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
HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY   as other programs read them (lower case first), for downloads
HF_ENDPOINT         the model hub (default: https://huggingface.co); HF_TOKEN: what it lets you read with
POCKETSEEK_CHECK_DAYS  while a model is in use and idle, its chunks are hashed again within so many days (default: 30;
                    0 or off: never)
POCKETSEEK_FEDERATED_PYTHON  Python of an environment with Flower (default: the one that `adapt federate setup` makes)
POCKETSEEK_LANG     language of messages: en or zh (default: from LC_ALL, LC_MESSAGES, LANG)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pocketseek.errors import UsageError
from pocketseek.types import EngineKind

DEFAULT_CHECK_DAYS = 30.0
COMPLETE_VARIABLE = "_POCKETSEEK_COMPLETE"  # set by the lines that `pocketseek completion` prints
_HUB = "https://huggingface.co"
_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class NetworkSettings:
    """How to reach others. proxies: by scheme (http, https, all). no_proxy: as the variable. hub_token is secret."""

    proxies: Mapping[str, str] = field(default_factory=dict, repr=False)
    no_proxy: str = ""
    hub: str = _HUB
    hub_token: str | None = field(default=None, repr=False)

    def proxy_for(self, url: str) -> str | None:
        """The proxy to take for an address; none for this machine."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host in _LOCAL or self._goes_directly(host, f"{host}:{parts.port}"):
            return None
        return self.proxies.get(parts.scheme) or self.proxies.get("all")

    def _goes_directly(self, host: str, host_and_port: str) -> bool:
        """By a list of names, each with all names below it."""
        for name in (item.strip().lower().lstrip(".") for item in self.no_proxy.split(",")):
            if name and (name == "*" or name in (host, host_and_port) or host.endswith(f".{name}")):
                return True
        return False


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
    check_days: float = DEFAULT_CHECK_DAYS
    federated_python: Path | None = None

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
    def voice_dir(self) -> Path:
        return self.home / "voice"

    @property
    def views_dir(self) -> Path:
        """Speech parts as folders of files."""
        return self.home / "cache" / "voice"

    @property
    def prefix_dir(self) -> Path:
        """Computed pages of prompts."""
        return self.home / "cache" / "prefix"

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
    def adapters_dir(self) -> Path:
        """What was trained here, in PEFT's format."""
        return self.home / "adapters"

    @property
    def federations_dir(self) -> Path:
        return self.home / "federations"

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
    try:
        check_days = _check_days()
    except UsageError as error:
        if complaints is None:
            raise
        complaints.append(str(error))
        check_days = DEFAULT_CHECK_DAYS
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
        check_days=check_days,
        federated_python=Path(python) if (python := os.environ.get("POCKETSEEK_FEDERATED_PYTHON")) else None,
    )


def is_completing() -> bool:
    """Whether a shell asks what could be typed next."""
    return bool(os.environ.get(COMPLETE_VARIABLE))


def termux_source() -> str | None:
    """Where this Termux was installed from, as it says itself: F_DROID, GITHUB, GOOGLE_PLAY_STORE ..."""
    return os.environ.get("TERMUX_APK_RELEASE") or None


def flower_environment(flower_home: Path) -> dict[str, str]:
    """Of processes that use Flower: they send no telemetry, look for no updates, and keep their files there."""
    quiet = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    return {**os.environ, **quiet, "FLWR_HOME": str(flower_home), "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}


def read_network_settings() -> NetworkSettings:
    """Raises UsageError for an impossible address of the hub or of a proxy."""
    proxies = {scheme: _either(f"{scheme}_proxy") for scheme in ("http", "https", "all")}
    hub = os.environ.get("HF_ENDPOINT") or _HUB
    for name, address in (("HF_ENDPOINT", hub), *((f"{scheme}_proxy", text) for scheme, text in proxies.items())):
        if address and not address.startswith(("http://", "https://")):
            raise UsageError(f"{name} does not begin with http:// or https://; set it to such an address or unset it")
    return NetworkSettings(
        proxies={scheme: text for scheme, text in proxies.items() if text},
        no_proxy=_either("no_proxy"),
        hub=hub.rstrip("/"),
        hub_token=os.environ.get("HF_TOKEN") or None,
    )


def _either(name: str) -> str:
    """In small letters or capitals."""
    return os.environ.get(name) or os.environ.get(name.upper()) or ""


def _check_days() -> float:
    text = os.environ.get("POCKETSEEK_CHECK_DAYS", "").lower()
    if not text:
        return DEFAULT_CHECK_DAYS
    try:
        days = 0.0 if text == "off" else float(text)
    except ValueError:
        days = -1.0
    if not 0.0 <= days <= 3650.0:
        raise UsageError(f"POCKETSEEK_CHECK_DAYS is {text[:40]!r}; set it to a number of days, or off, or unset it")
    return days


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
