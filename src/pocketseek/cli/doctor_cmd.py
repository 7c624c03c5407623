"""`pocketseek doctor`: is everything here that a model needs to run?"""

from __future__ import annotations

import platform

import typer

from pocketseek.cli import messages, options
from pocketseek.cli.console import format_bytes, print_json, print_table, print_text
from pocketseek.cli.device_cmd import kernels_here
from pocketseek.cli.messages import Words
from pocketseek.device.probe import check_device
from pocketseek.settings import Settings, read_settings

_SMALL_MODEL_BYTES = 350_000_000


def doctor(json: options.Json = False) -> None:
    """Check the compiled core, free storage and the installed models; exit code 1 if something is amiss."""
    settings = read_settings()
    words = Words(settings.language)
    checks = [_python(words), _core(settings, words), _space(settings, words), _models(settings, words)]
    healthy = all(good for _, good, _ in checks)
    if json:
        print_json({"ok": healthy, "checks": [{"name": n, "ok": good, "detail": d} for n, good, d in checks]})
    else:
        print_table(
            (words(messages.COLUMN_CHECK), "", words(messages.COLUMN_RESULT)),
            [(name, "ok" if good else "!!", detail) for name, good, detail in checks],
        )
        if healthy:
            print_text(words(messages.DOCTOR_OK))
    if not healthy:
        raise typer.Exit(1)


def _python(words: Words) -> tuple[str, bool, str]:
    return words(messages.DOCTOR_PYTHON), True, platform.python_version()


def _core(settings: Settings, words: Words) -> tuple[str, bool, str]:
    kernels, reason = kernels_here(settings)
    return words(messages.DOCTOR_CORE), kernels is not None, f"{kernels}: {reason}" if kernels else reason


def _space(settings: Settings, words: Words) -> tuple[str, bool, str]:
    free_bytes = check_device(data_dir=settings.home).storage_free_bytes
    label = words(messages.DOCTOR_SPACE)
    if free_bytes is None:
        return label, True, words(messages.UNKNOWN)
    if free_bytes < _SMALL_MODEL_BYTES:
        return label, False, words(messages.DOCTOR_LOW_SPACE, free=format_bytes(free_bytes))
    return label, True, format_bytes(free_bytes)


def _models(settings: Settings, words: Words) -> tuple[str, bool, str]:
    from pocketseek.package.store import ModelStore

    store = ModelStore(settings.models_dir)
    broken = store.list_broken()
    detail = words(messages.DOCTOR_NUM_MODELS, count=len(store.list()), broken=len(broken))
    reasons = "; ".join(f"{model.name}: {model.reason}" for model in broken)
    return words(messages.DOCTOR_MODELS), not broken, f"{detail}: {reasons}" if broken else detail
