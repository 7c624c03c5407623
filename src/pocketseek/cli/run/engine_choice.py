"""`--engine` and `--provider`: who computes, said where that is news."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pocketseek.cli.console import note, progress_bar
from pocketseek.cli.messages import Words
from pocketseek.cli.run import onnx_messages
from pocketseek.errors import UsageError
from pocketseek.settings import Settings
from pocketseek.types import EngineKind

if TYPE_CHECKING:
    from pocketseek.runtime.onnx.providers import ProviderChoice, ProviderFailure


class ProviderNote:
    """Of one command: what keeps a provider from computing is told once, however many models and stages are opened."""

    def __init__(self) -> None:
        self._told: set[ProviderFailure] = set()

    def see(self, choice: ProviderChoice | None, words: Words) -> None:
        """None: the native core computes."""
        if choice is None:
            return
        for failure in choice.failures:
            if failure not in self._told:
                self._told.add(failure)
                problem = _problem(failure, words)
                note(words(onnx_messages.FAILED, name=failure.name, problem=problem, instead=choice.name))


@dataclass(frozen=True)
class EngineOptions:
    """As typed; None: not. verbose: tell the execution provider, too. failed: of the command that these are for."""

    engine: EngineKind | None = None
    provider: str | None = None
    verbose: bool = False
    failed: ProviderNote = field(default_factory=ProviderNote, compare=False)


NO_OPTIONS = EngineOptions()


def is_onnx(settings: Settings, path: Path, options: EngineOptions) -> bool:
    """Whether ONNX Runtime would compute. Raises UsageError."""
    from pocketseek.apps.onnx_models import choose_engine

    return choose_engine(path, settings, options.engine).kind == "onnx"


def check_adapter(settings: Settings, path: Path, options: EngineOptions, adapter: str | None) -> None:
    """Before anything is exported for nothing. Raises UnsupportedError."""
    from pocketseek.runtime.adapters import no_adapters

    if adapter is not None and is_onnx(settings, path, options):
        raise no_adapters(adapter)


def prepare_engine(settings: Settings, path: Path, options: EngineOptions, *, quiet: bool = False) -> EngineKind:
    """Choose, and make what it needs: the export of a package, for ONNX Runtime.

    Raises UsageError for options that do not go together, and what exporting raises.
    """
    from pocketseek.apps.onnx_models import choose_engine, ensure_export

    choice = choose_engine(path, settings, options.engine)
    if choice.kind == "native":
        if options.provider is not None:
            raise UsageError("--provider belongs to ONNX Runtime; add --engine onnx, or leave it out")
        return "native"
    words = Words(settings.language)
    if choice.reason == "no core" and not quiet:
        note(words(onnx_messages.NO_CORE))
    with progress_bar(unit="layers") as show:
        label = words(onnx_messages.EXPORTING)
        ensure_export(path, settings, lambda done, total: show(label, done, total))
    return "onnx"


def tell_provider(choice: ProviderChoice | None, words: Words, options: EngineOptions, *, quiet: bool = False) -> None:
    """Which providers failed, always; which one computes, only if asked."""
    if choice is None or quiet:
        return
    options.failed.see(choice, words)
    if options.verbose:
        reason = words(onnx_messages.PROVIDER_REASONS[choice.reason])
        note(words(onnx_messages.COMPUTES, name=choice.name, reason=reason))


def tell_change(choice: ProviderChoice | None, words: Words, options: EngineOptions, *, quiet: bool = False) -> None:
    """After an answer: a provider that failed meanwhile."""
    if not quiet:
        options.failed.see(choice, words)


def _problem(failure: ProviderFailure, words: Words) -> str:
    if failure.kind is None:
        return failure.problem
    problem = words(onnx_messages.PROBLEMS[failure.kind])
    return words(onnx_messages.DETAILED, problem=problem, detail=failure.detail) if failure.detail else problem


def engine_facts(choice: ProviderChoice | None) -> dict[str, object]:
    """For --json."""
    if choice is None:
        return {"engine": "native"}
    failures = [{"name": failure.name, "problem": failure.problem} for failure in choice.failures]
    return {"engine": "onnx", "provider": {"name": choice.name, "reason": choice.reason, "failed": failures}}


def provider_rows(choice: ProviderChoice | None, words: Words) -> list[tuple[str, str]]:
    """For a table: nothing if the native core computes."""
    if choice is None:
        return []
    reason = words(onnx_messages.PROVIDER_REASONS[choice.reason])
    return [(words(onnx_messages.ROW), f"{choice.name}: {reason}")]
