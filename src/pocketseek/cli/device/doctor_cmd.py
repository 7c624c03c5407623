"""`pocketseek doctor`: is everything here that a model needs to run?"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json
from pocketseek.cli.device import doctor_messages
from pocketseek.cli.device.device_cmd import kernels_here, kernels_row
from pocketseek.cli.device.doctor_check import Check
from pocketseek.cli.device.doctor_security import security_checks
from pocketseek.cli.device.doctor_system import system_checks
from pocketseek.cli.device.doctor_view import show_checks
from pocketseek.cli.messages import Words
from pocketseek.cli.models.models_cmd import describe_broken
from pocketseek.cli.run import heat_messages, onnx_messages
from pocketseek.cli.run.heat_limit import remedy
from pocketseek.device.memory import process_memory
from pocketseek.device.probe import check_device
from pocketseek.device.sensors import Sensors
from pocketseek.device.system import is_android
from pocketseek.errors import StorageError, UsageError
from pocketseek.govern.choose_sensors import choose_sensors
from pocketseek.govern.headroom import with_headroom
from pocketseek.libraries import is_termux
from pocketseek.settings import Settings, read_settings

_SMALL_MODEL_BYTES = 350_000_000
_LEAST_MEMORY_BYTES = 130_000_000  # of the demo model in a container, see docs/cli.md


def doctor(json: options.Json = False) -> None:
    """Check everything that a model needs to run, and explain what is amiss. Settings, the compiled core, memory,
    storage, limits, libraries, models and who can read them; exit code 1 if something keeps a model from running."""
    complaints: list[str] = []
    settings = read_settings(complaints)
    words = Words(settings.language)
    models, num_models = _models(settings, words)
    core = _core(settings, words)
    checks = [
        Check(words(doctor_messages.PYTHON), True, platform.python_version()),
        _settings([*complaints, *_kv_complaints(settings)], words),
        core,
        _onnx(words),
        _data(settings, words),
        _space(settings, words, num_models),
        _memory(settings, words),
        _heat(settings, words),
        *models,
        *security_checks(settings, words),
        *system_checks(settings, words, has_core=core.ok and not core.warning),
    ]
    healthy = all(check.ok for check in checks)
    if json:
        found = [{"name": c.name, "ok": c.ok, "warning": c.warning, "detail": c.detail} for c in checks]
        print_json({"ok": healthy, "checks": found})
    else:
        show_checks(checks, words)
    if not healthy:
        raise typer.Exit(1)


def _settings(complaints: list[str], words: Words) -> Check:
    detail = "; ".join(complaints) or words(doctor_messages.SETTINGS_OK)
    return Check(words(doctor_messages.SETTINGS), not complaints, detail)


def _kv_complaints(settings: Settings) -> list[str]:
    from pocketseek.kernels.kv_memory import choose_kv_format

    try:
        choose_kv_format(settings.kv)
    except UsageError as error:
        return [str(error)]
    return []


def _core(settings: Settings, words: Words) -> Check:
    """Without a core, ONNX Runtime computes where there is one."""
    from pocketseek.runtime.onnx_executor import library_version

    kernels, reason = kernels_here(settings)
    if kernels is None and settings.kernels is None and library_version() is not None:
        return Check(words(doctor_messages.CORE), True, reason, warning=True)
    return Check(words(doctor_messages.CORE), kernels is not None, kernels_row(settings, words) if kernels else reason)


def _onnx(words: Words) -> Check:
    """Nobody needs it who has the core."""
    from pocketseek.runtime.onnx.providers import PROVIDERS
    from pocketseek.runtime.onnx_executor import available_providers, library_version

    label, version = words(onnx_messages.ROW), library_version()
    if version is None:
        return Check(label, True, words(onnx_messages.ABSENT_TERMUX if is_termux() else onnx_messages.ABSENT))
    here = available_providers()
    names = ", ".join(name for name, ort_name in PROVIDERS.items() if ort_name in here)
    return Check(label, True, words(onnx_messages.DOCTOR_VALUE, version=version, providers=names))


def _data(settings: Settings, words: Words) -> Check:
    """Whether the data directory, or what is there of the way to it, can be written."""
    place = next(path for path in (settings.home, *settings.home.parents) if os.path.lexists(path))
    label = words(doctor_messages.DATA)
    if not os.path.isdir(place):
        return Check(label, False, words(doctor_messages.NO_FOLDER, path=place))
    good = os.access(place, os.W_OK | os.X_OK)
    return Check(label, good, str(settings.home) if good else words(doctor_messages.NOT_WRITABLE, path=place))


def _space(settings: Settings, words: Words, num_models: int) -> Check:
    """Little space keeps the first model from being installed; those that are here run without."""
    free_bytes = check_device(data_dir=settings.home).storage_free_bytes
    label = words(doctor_messages.SPACE)
    if free_bytes is None:
        return Check(label, True, words(messages.UNKNOWN))
    if free_bytes < _SMALL_MODEL_BYTES:
        detail = words(doctor_messages.LOW_SPACE, free=format_bytes(free_bytes))
        return Check(label, num_models > 0, detail, warning=True)
    return Check(label, True, format_bytes(free_bytes))


def _memory(settings: Settings, words: Words) -> Check:
    """What can be taken now, the limit of a container included. Others may give some back, so it is only a warning.

    The least is that of a whole process, so what this one holds already, as the next one will, counts as there.
    """
    facts = check_device(data_dir=settings.home)
    label, available_bytes = words(doctor_messages.MEMORY), facts.memory_available_bytes
    if available_bytes is None:
        return Check(label, True, words(messages.UNKNOWN))
    available = format_bytes(available_bytes)
    detail = words(doctor_messages.MEMORY_FREE, available=available)
    if facts.memory_limit_bytes is not None:
        limit = format_bytes(facts.memory_limit_bytes)
        detail = words(doctor_messages.MEMORY_LIMIT, available=available, limit=limit)
    if available_bytes + (process_memory().anonymous_bytes or 0) >= _LEAST_MEMORY_BYTES:
        return Check(label, True, detail)
    is_confined = facts.memory_limit_bytes is not None and facts.memory_limit_bytes < _LEAST_MEMORY_BYTES
    message = doctor_messages.LOW_LIMIT if is_confined else doctor_messages.LOW_MEMORY
    least = format_bytes(_LEAST_MEMORY_BYTES)
    return Check(label, True, words(message, memory=detail, least=least), warning=True)


def _heat(settings: Settings, words: Words, root: Path = Path("/")) -> Check:
    """Whether the temperature limit can be held: worth a warning on a phone, or where somebody asked for one."""
    from pocketseek.govern.thermal_control import SET_POINT_C

    label, asked_c, is_phone = words(heat_messages.DOCTOR_HEAT), settings.temperature_limit_c, is_android(root)
    limit_c = SET_POINT_C if asked_c is None else asked_c
    if limit_c == 0.0:
        return Check(label, True, words(heat_messages.DOCTOR_HEAT_OFF))
    sensors = Sensors(root)
    choice = choose_sensors(with_headroom(sensors.settle() if is_phone else sensors.read()))
    if choice.set_point_c is not None:
        names = ", ".join(one.name for one in choice.set_point)
        values = {"celsius": choice.set_point_c, "names": names, "limit": f"{limit_c:g}"}
        return Check(label, True, words(heat_messages.DOCTOR_HEAT_SENSOR, **values))
    found = words(heat_messages.DOCTOR_HEAT_CHIP if choice.soc else heat_messages.DOCTOR_HEAT_NONE)
    if not is_phone and asked_c is None:
        return Check(label, True, found)
    unheld = words(heat_messages.DOCTOR_HEAT_UNHELD, found=found, limit=f"{limit_c:g}", remedy=words(remedy(root)))
    return Check(label, True, unheld, warning=True)


def _models(settings: Settings, words: Words) -> tuple[list[Check], int]:
    """(findings, number of usable models): the count, and one finding for each model that is broken."""
    from pocketseek.package.store import ModelStore

    store = ModelStore(settings.models_dir)
    label = words(doctor_messages.MODELS)
    try:
        num_models, broken = len(store.list()), store.list_broken()
    except StorageError as error:  # a finding here, not the end of the command
        return [Check(label, False, str(error))], 0
    message = doctor_messages.NUM_MODELS_VERIFY if num_models else doctor_messages.NUM_MODELS
    count = Check(
        label, True, words(message, count=num_models, broken=len(broken))
    )  # the broken have lines of their own
    details = [describe_broken(model, words) for model in broken]
    return [count, *(Check(label, False, detail) for detail in details)], num_models
