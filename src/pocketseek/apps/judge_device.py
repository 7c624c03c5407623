"""The verdict on this device: every model of the catalogue and every installed one, judged by what was measured."""

from __future__ import annotations

from dataclasses import replace

from pocketseek.apps.catalogue import QUANTS, USUAL_QUANTS, catalogue, needs_of_installed
from pocketseek.device.probe import DeviceFacts
from pocketseek.govern.budget import default_kv_budget_bytes
from pocketseek.govern.expected_speed import MachineFigures
from pocketseek.govern.model_verdict import ModelVerdict, Room, judge_models, recommended
from pocketseek.kernels.kv_memory import choose_kv_format
from pocketseek.package.store import ModelStore
from pocketseek.runtime.opening import available_bytes, num_cores
from pocketseek.settings import Settings


def judge_device(
    settings: Settings, facts: DeviceFacts, figures: MachineFigures | None
) -> tuple[list[ModelVerdict], ModelVerdict | None]:
    """(verdicts, the one to take). Installed models stand in for the catalogue's of the same name, and come first.

    They are called what they are called here, which `pull --name` chooses, not in their manifest.
    """
    memory_bytes = available_bytes(facts)
    room = Room(
        memory_bytes,
        facts.storage_free_bytes,
        default_kv_budget_bytes(memory_bytes),
        choose_kv_format(settings.kv),
        facts.storage_kind,
        facts.storage_version,
    )
    models = ModelStore(settings.models_dir).list()
    installed = [replace(needs_of_installed(model.manifest), name=model.name) for model in models]
    names = {name for model in models for name in (model.name, model.manifest.name)}
    others = [model.needs(quant) for model in catalogue() if model.name not in names for quant in QUANTS]
    verdicts = judge_models([*installed, *others], room, figures)
    return verdicts, recommended([one for one in verdicts if is_usual(one)])


def is_usual(verdict: ModelVerdict) -> bool:
    """What is installed, and of the others the two ways to convert that people are told of first."""
    return verdict.needs.is_installed or verdict.needs.quant in USUAL_QUANTS


def published_figures(settings: Settings, facts: DeviceFacts) -> MachineFigures | None:
    """Upper limits from the chip table, where nothing was measured; None if the table does not know."""
    if facts.chip is None or facts.chip.memory_bandwidth_bytes_per_s is None:
        return None
    return MachineFigures(
        kernels=settings.kernels or "unknown",
        num_threads=settings.num_threads or num_cores(facts),
        read_bandwidth_bytes_per_s=facts.chip.memory_bandwidth_bytes_per_s,
        int8_multiply_adds_per_s=None,
        f32_multiply_adds_per_s=None,
        is_estimate=True,
    )
