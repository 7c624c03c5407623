"""A wished speed: gathers what is known of a model, its smaller siblings and this device; govern/ladder.py chooses.

Nothing is loaded for it. Figures come from where they were learnt: the speed of storage from `storage/` (and it is
measured if it is unknown and needed), that of passes from `costs/`, the model's own, else that of a sibling; where none
of them has run yet, what the processor reads from memory is measured (half a second). What the process takes beside
weights and pages is estimated from what it takes now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pocketseek.device.memory import process_memory
from pocketseek.device.memory_watch import MemoryWatch
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.govern.budget import default_kv_budget_bytes
from pocketseek.govern.elastic import ElasticBudget
from pocketseek.govern.expected_speed import READ_SHARE, STREAM_SHARE
from pocketseek.govern.governor import FixedGovernor
from pocketseek.govern.ladder import LEAST_CONTEXT_TOKENS, ModelFacts, SpeedChoice, SpeedWish, choose_rung
from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.kv_memory import KV_FORMATS, PAGE_TOKENS, KvFormat, choose_kv_format, page_bytes
from pocketseek.kernels.measure import measure_read_bandwidth
from pocketseek.package.lineage import smaller_siblings
from pocketseek.package.manifest import Manifest, read_manifest
from pocketseek.package.reader import Package
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.store import ModelStore
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.package.verify import Admit, Progress
from pocketseek.runtime.memory_use import FEWEST_TOKENS, GROWTH_BYTES, workspace_bytes
from pocketseek.runtime.opening import available_bytes, cost_file_of, num_cores, template_of
from pocketseek.runtime.prompt import Prompt, encode_prompt
from pocketseek.runtime.residency.plan import make_plan, usual_cached_bytes, usual_ring_bytes
from pocketseek.runtime.residency.read_mode import DEFAULT_READ_MODE, known_read_mode
from pocketseek.runtime.residency.read_probe import read_mode_for
from pocketseek.runtime.residency.table_rows import KEPT_ROWS_BYTES
from pocketseek.runtime.residency.units import Unit, units_of
from pocketseek.settings import Settings
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import Limits

_TOKENIZER_SHARE = 16  # a tokenizer takes 12 to 18 times its file (measured: 49 000 and 100 000 tokens)
_SAMPLE_SHARE, _LEAST_SAMPLE_BYTES, _MOST_SAMPLE_BYTES = 8, 16 << 20, 64 << 20
_UNKNOWN_BYTES_PER_S = 8e9  # chosen; unmeasured on a device


@dataclass(frozen=True)
class SpeedNeed:
    """max_tokens: prompt and answer of all sequences that run at the same time; None: not known, as in a chat.
    least_tokens: a context below these is of no use."""

    max_tokens: int | None = None
    num_sequences: int = 1
    least_tokens: int = LEAST_CONTEXT_TOKENS


NO_NEED = SpeedNeed()


@dataclass(frozen=True)
class SpeedPlan:
    """What to `load`, instead of what was asked for, and the figures behind it."""

    choice: SpeedChoice
    path: Path
    kv: KvFormat
    kv_bytes: int | None


def plan_speed(
    path: Path,
    name: str,
    settings: Settings,
    *,
    min_speed: float,
    need: SpeedNeed = NO_NEED,
    kv: str | None = None,
    kv_bytes: int | None = None,
    memory_bytes: int | None = None,
    num_threads: int | None = None,
    kernels: str | None = None,
    secret: Secret | None = None,
    gate: Gatekeeper | None = None,
    progress: Progress | None = None,
) -> SpeedPlan:
    """The rung to take for the package at path, which the user called `name`. The rest is as in `load`. Siblings that
    may not be used are passed over.

    Raises UsageError for a senseless speed, and what reading the packages raises.
    """
    kv_format = choose_kv_format(kv or settings.kv)
    candidates = _candidates(path, name, settings, gate)
    device = _Device.of(settings, kernels, num_threads)
    wish = SpeedWish(
        min_speed=min_speed,
        budget_bytes=ElasticBudget(cap_bytes=memory_bytes).update(MemoryWatch().read(), 0.0),
        usual_kv_bytes=default_kv_budget_bytes(available_bytes(device.facts)),
        page_tokens=PAGE_TOKENS,
        kv_bytes=kv_bytes,
        max_tokens=need.max_tokens,
        num_sequences=need.num_sequences,
        least_tokens=need.least_tokens,
    )
    memory_rates = _memory_rates(candidates, device, wish.budget_bytes)
    models = [_facts_of(one, kv_format, rate) for one, rate in zip(candidates, memory_rates, strict=True)]
    choice = choose_rung(wish, models)
    if choice.asked.streamed_bytes:  # else storage takes no part in it
        rates = _storage_rates(candidates, settings.home, secret, progress)
        models = [replace(one, storage_bytes_per_s=rate) for one, rate in zip(models, rates, strict=True)]
        choice = choose_rung(wish, models)
    chosen = choice.chosen
    return SpeedPlan(
        choice,
        next(one.path for one in candidates if one.name == chosen.model),
        choose_kv_format(chosen.kv),
        chosen.num_pages * chosen.page_bytes if chosen.is_cut else kv_bytes,
    )


def count_prompt_tokens(
    path: Path,
    prompt: Prompt,
    progress: Progress | None = None,
    *,
    secret: Secret | None = None,
    admit: Admit | None = None,
) -> int:
    """How long a prompt is for the model at path, without opening an engine. Raises as `Engine.encode_prompt`."""
    with Package.open(path, secret=secret, progress=progress, admit=admit) as package:
        settings = parse_text_settings(package.file("text.json"))
        tokenizer = Tokenizer.from_json(package.file("tokenizer.json"), settings)
        return len(encode_prompt(prompt, tokenizer, template_of(package, settings)))


def expected_base_bytes(manifest: Manifest) -> int:
    """What `MemoryUse.base_bytes` will say once the model is open and an answer is being written."""
    process = process_memory()
    tokenizer_bytes = _TOKENIZER_SHARE * manifest.files["tokenizer.json"].num_bytes
    workspace = workspace_bytes(manifest.model, FEWEST_TOKENS)
    return (process.rss_bytes or 0) + GROWTH_BYTES + tokenizer_bytes + workspace + KEPT_ROWS_BYTES


@dataclass(frozen=True)
class _Candidate:
    name: str
    path: Path
    manifest: Manifest
    units: tuple[Unit, ...]

    @property
    def weights_bytes(self) -> int:
        return sum(unit.num_bytes for unit in self.units)


@dataclass(frozen=True)
class _Device:
    home: Path
    facts: DeviceFacts
    kernels: str
    limits: Limits

    @classmethod
    def of(cls, settings: Settings, kernels: str | None, num_threads: int | None) -> _Device:
        facts = check_device(data_dir=settings.home)
        governor = FixedGovernor(
            num_cores(facts), num_threads=num_threads if num_threads is not None else settings.num_threads
        )
        return cls(settings.home, facts, choose_kernels(kernels or settings.kernels).name, governor.limits())


def _candidates(path: Path, name: str, settings: Settings, gate: Gatekeeper | None) -> list[_Candidate]:
    """What is asked for, then its siblings, the largest first."""
    manifest = read_manifest(path)
    siblings = smaller_siblings(ModelStore(settings.models_dir), path, manifest)
    if gate is not None:
        siblings = [one for one in siblings if gate.is_allowed(one.path)]
    siblings = [one for one in siblings if not one.manifest.model.is_sparse]  # nothing is known of their speed yet
    found = [(name, path, manifest), *((one.name, one.path, one.manifest) for one in siblings)]
    return [_Candidate(*one, units_of(one[2])) for one in found]


def _facts_of(candidate: _Candidate, kv_format: KvFormat, memory_bytes_per_s: float) -> ModelFacts:
    config, units = candidate.manifest.model, candidate.units
    ring_bytes, cached_bytes = usual_ring_bytes(units), usual_cached_bytes(units)
    sizes = {known: page_bytes(config, known) for known in KV_FORMATS}
    smaller = [known for known in KV_FORMATS if sizes[known] < sizes[kv_format]]
    return ModelFacts(
        name=candidate.name,
        base_bytes=expected_base_bytes(candidate.manifest),
        weights_bytes=candidate.weights_bytes,
        ring_bytes=ring_bytes + cached_bytes,
        context_length=config.context_length,
        page_bytes=tuple((known, sizes[known]) for known in (kv_format, *smaller)),
        streamed_bytes=lambda weight_bytes: make_plan(units, weight_bytes, ring_bytes, cached_bytes).streamed_bytes,
        storage_bytes_per_s=DEFAULT_READ_MODE.bytes_per_s,
        memory_bytes_per_s=memory_bytes_per_s,
    )


def _storage_rates(
    candidates: Sequence[_Candidate], home: Path, secret: Secret | None, progress: Progress | None
) -> list[float]:
    """Siblings of which nothing is known are taken to lie where the asked one does."""
    asked = known_read_mode(home, candidates[0].path)
    if asked is None:
        with Package.open(candidates[0].path, secret=secret, progress=progress) as package:
            asked = read_mode_for(home, package)
    return [STREAM_SHARE * (known_read_mode(home, one.path) or asked).bytes_per_s for one in candidates]


def _memory_rates(candidates: Sequence[_Candidate], device: _Device, budget_bytes: int) -> list[float]:
    """Of each its own, else the first that is known of the others, else what is measured now."""
    learnt = [_learnt_rate(one, device) for one in candidates]
    usual = next((rate for rate in learnt if rate is not None), None) or _measured_rate(device, budget_bytes)
    return [rate or usual for rate in learnt]


def _learnt_rate(candidate: _Candidate, device: _Device) -> float | None:
    """From the passes that the model ran here, in whichever KV format they were faster."""
    files = [cost_file_of(device.home, candidate.manifest, device.facts, device.kernels, kv) for kv in KV_FORMATS]
    times = [file.costs.of(device.limits).computing.seconds(1) for file in files]
    return max((candidate.weights_bytes / seconds for seconds in times if seconds), default=None)


def _measured_rate(device: _Device, budget_bytes: int) -> float:
    """What memory could give; a sample that would take too much of it, or fit into a cache, is left out."""
    sample_bytes = min(_MOST_SAMPLE_BYTES, budget_bytes // _SAMPLE_SHARE)
    if device.kernels == "reference" or sample_bytes < _LEAST_SAMPLE_BYTES:
        return _UNKNOWN_BYTES_PER_S
    return READ_SHARE * measure_read_bandwidth(device.kernels, device.limits.num_threads, buffer_bytes=sample_bytes)
