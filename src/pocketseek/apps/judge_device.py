"""The verdict on this device: every model of the catalogue and every installed one, judged by what was measured."""

from __future__ import annotations

from pocketseek.apps.catalogue import QUANTS, CatalogueModel, catalogue, needs_of_installed
from pocketseek.device.probe import DeviceFacts
from pocketseek.govern.budget import default_kv_budget_bytes
from pocketseek.govern.model_verdict import (
    MachineFigures,
    ModelVerdict,
    Room,
    judge_model,
    judge_models,
    recommended,
)
from pocketseek.package.store import ModelStore
from pocketseek.runtime.opening import available_bytes
from pocketseek.settings import Settings


def judge_device(
    settings: Settings, facts: DeviceFacts, figures: MachineFigures | None
) -> tuple[list[ModelVerdict], ModelVerdict | None]:
    """(verdicts, the one to take). Installed models stand in for the catalogue's of the same name, and come first."""
    memory_bytes = available_bytes(facts)
    room = Room(memory_bytes, facts.storage_free_bytes, default_kv_budget_bytes(memory_bytes))
    installed = [needs_of_installed(model.manifest) for model in ModelStore(settings.models_dir).list()]
    verdicts = judge_models(installed, room, figures)
    names = {needs.name for needs in installed}
    for model in catalogue():
        if model.name not in names:
            verdicts += _with_fewest_bits_first(model, room, figures)
    return verdicts, recommended(verdicts)


def _with_fewest_bits_first(model: CatalogueModel, room: Room, figures: MachineFigures | None) -> list[ModelVerdict]:
    """What does not run with four bits is not asked again with eight."""
    verdicts: list[ModelVerdict] = []
    for quant in QUANTS:
        if not verdicts or verdicts[-1].runs:
            verdicts.append(judge_model(model.needs(quant), room, figures))
    return verdicts
