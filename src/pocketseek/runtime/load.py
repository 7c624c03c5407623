"""From a package or an ONNX model on disk to an engine that answers: the parts are opened, checked and put together."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from pocketseek import __version__
from pocketseek.device.probe import DeviceFacts, check_device
from pocketseek.errors import UsageError
from pocketseek.govern.governor import MAX_SEQUENCES, FixedGovernor
from pocketseek.kernels.choose import KernelChoice, build_of, choose_kernels
from pocketseek.kernels.kv_memory import KvFormat, choose_kv_format, used_page_bytes
from pocketseek.package.adapter_layout import refuse_adapter
from pocketseek.package.manifest import read_manifest
from pocketseek.package.paths import MANIFEST_NAME, SEAL_NAME
from pocketseek.package.reader import Package
from pocketseek.package.sealing.data_seal import DATA_SEAL_NAME
from pocketseek.package.sealing.key_slots import Secret
from pocketseek.package.store import ModelStore
from pocketseek.package.trust.audit import AuditLog
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.runtime.adapters import AdapterShelf, no_adapters
from pocketseek.runtime.closing import Closeable, close_all
from pocketseek.runtime.engine import Engine
from pocketseek.runtime.executor import KernelExecutor
from pocketseek.runtime.expert_file import ExpertFile
from pocketseek.runtime.onnx.opening import find_onnx_model, open_onnx_model, refuse_native_options
from pocketseek.runtime.opening import cost_file_of, num_cores, template_of, usual_secret
from pocketseek.runtime.prefix.owners import manifest_id, plain_owner, sealed_owner
from pocketseek.runtime.prefix.store import identity_of
from pocketseek.runtime.residency.expert_policies import usual_policy
from pocketseek.runtime.residency.read_probe import read_mode_for
from pocketseek.runtime.routing_log import RoutingLog
from pocketseek.runtime.speed_plan import plan_speed
from pocketseek.runtime.start import EngineWishes, OpenedModel, start_engine
from pocketseek.settings import Settings, read_settings
from pocketseek.text.sampling_file import parse_recommended
from pocketseek.text.settings_file import parse_text_settings
from pocketseek.text.tokenizer import Tokenizer
from pocketseek.types import EngineKind, Limits, SamplingParams

Progress = Callable[[int, int], None]


def load(
    model: str | Path = "demo",
    *,
    num_threads: int | None = None,
    kernels: str | None = None,
    kv: str | None = None,
    kv_bytes: int | None = None,
    memory_bytes: int | None = None,
    min_speed: float | None = None,
    max_sequences: int | None = None,
    prefix_cache: bool = True,
    prefix_store: Path | None = None,
    prefix_store_bytes: int | None = None,
    cache_key: bytes | None = None,
    speculation: bool = True,
    temperature_limit_c: float | None = None,
    engine: EngineKind | None = None,
    provider: str | None = None,
    secret: Secret | None = None,
    routing_log: RoutingLog | None = None,
    adapter: str | None = None,
    adapter_secret: Callable[[Path], Secret | None] | None = None,
    progress: Progress | None = None,
) -> Engine:
    """Open an installed model by name, a package or an ONNX model by path, and return an engine for it.

    num_threads, kernels: instead of what the environment or this machine suggest. kv: how K and V are kept, "f16" or
    "q8" (about half the memory, see docs/runtime.md). kv_bytes: memory for K and V of all running sequences (default: a
    share of what is free). speculation: see `Engine`.
    memory_bytes: the most that the whole process may take; weights that do not fit are read anew in every pass. By
    default what the machine and the container have left, now and while it runs.
    min_speed: tokens per second of an answer. Where less is to be expected in that memory, K and V in int8, a smaller
    context or a smaller installed model of the same line are taken instead: `Engine.speed_choice` says what and why.
    max_sequences: answers that are written at the same time; others wait (default: 16).
    prefix_cache: keep computed pages of prompts for later ones, in the KV memory while nobody needs it and on disk in
    the directory prefix_store (default: cache/prefix in the data directory), in at most prefix_store_bytes (default:
    1 GiB or a tenth of what is free; 0: not on disk). cache_key: of 32 bytes, seals what is kept on disk; without one
    nothing is kept there in a sealed data directory. What is kept of a sealed model is sealed with a key of its own,
    and with both where there are both.
    temperature_limit_c: of the skin or battery, where it can be read: the pace falls so that it stays below. 0: it does
    not; by default what the environment says, else 45. See docs/govern.md.
    engine: "native" or "onnx" (ONNX Runtime; by default what the environment says, else what the model is made for). Of
    an installed model, "onnx" takes the export in the data directory's cache. provider: the execution provider of ONNX
    Runtime, instead of what fits the device.
    adapter: the name of an adapter of the model (docs/adapt.md), for all requests that do not say otherwise.
    adapter_secret: what opens a sealed adapter, by its package, now and later; by default and where it gives None, the
    model's.
    secret: what opens a sealed model (by default POCKETSEEK_PASSPHRASE); of such a model nothing is left on disk in the
    clear.
    routing_log: gathers which experts passes choose, of a model that has some (docs/moe.md).
    progress(done_bytes, total_bytes) is called while the package
    is hashed, which happens before its first use and after it was touched.
    Raises NotFoundError, FormatError, IntegrityError, StorageError, UsageError, NativeCoreError, MemoryLimitError,
    UnsupportedError, SealError, TrustError.
    """
    settings = read_settings()
    wishes = EngineWishes(
        kv_bytes=kv_bytes,
        memory_bytes=memory_bytes,
        prefix_cache=prefix_cache,
        prefix_store=prefix_store,
        prefix_store_bytes=prefix_store_bytes,
        cache_key=cache_key,
        speculation=speculation,
        temperature_limit_c=temperature_limit_c,
        routing_log=routing_log,
    )
    facts = check_device(data_dir=settings.home)
    fixed = FixedGovernor(
        num_cores(facts),
        num_threads=num_threads if num_threads is not None else settings.num_threads,
        max_sequences=max_sequences if max_sequences is not None else MAX_SEQUENCES,
    ).limits()
    gate = Gatekeeper.of(settings)
    onnx_path = find_onnx_model(str(model), settings, engine, gate)
    if onnx_path is not None:
        if routing_log is not None:
            raise UsageError("routing is traced with the native core; use --engine native, or leave --trace out")
        if adapter:
            raise no_adapters(adapter)
        refuse_native_options(kernels=kernels, kv=kv, min_speed=min_speed)
        opened = open_onnx_model(
            onnx_path, settings, facts, num_threads=fixed.num_threads, provider=provider, progress=progress
        )
        return _started(opened, settings, facts, fixed, replace(wishes, speculation=False), onnx_path, None)
    if provider is not None:
        raise UsageError("an execution provider belongs to ONNX Runtime; use --engine onnx, or leave --provider out")
    path = ModelStore(settings.models_dir).resolve(str(model))
    refuse_adapter(read_manifest(path), str(model), "use it with `--adapter` and that model")
    secret = secret or usual_secret(settings)
    speed_choice = None
    if min_speed is not None:
        plan = plan_speed(
            path,
            str(model),
            settings,
            min_speed=min_speed,
            kv=kv,
            kv_bytes=kv_bytes,
            memory_bytes=memory_bytes,
            num_threads=num_threads,
            kernels=kernels,
            secret=secret,
            gate=gate,
            progress=progress,
        )
        path, kv, speed_choice = plan.path, plan.kv, plan.choice
        wishes = replace(wishes, kv_bytes=plan.kv_bytes)
    choice = choose_kernels(kernels or settings.kernels)
    kv_format = choose_kv_format(kv or settings.kv)
    package = Package.open(path, secret=secret, progress=progress, admit=gate.admit)
    known = adapter_secret or (lambda path: None)
    shelf_of = partial(
        _shelf,
        package=package,
        settings=settings,
        gate=gate,
        secret_of=lambda path: known(path) or secret,
        first=adapter or "",
    )
    opened = _open_package(
        package, settings, facts, choice, kv_format, shelf_of, num_threads=fixed.num_threads, routing_log=routing_log
    )
    started = _started(opened, settings, facts, fixed, wishes, path, package)
    started.speed_choice, started.adapter = speed_choice, adapter or ""
    return started


def _shelf(
    executor: KernelExecutor,
    package: Package,
    settings: Settings,
    gate: Gatekeeper,
    secret_of: Callable[[Path], Secret | None],
    first: str,
) -> AdapterShelf:
    """first: loaded now, so that the memory is shared out with it; empty: none."""
    find = ModelStore(settings.models_dir).resolve_adapter
    shelf = AdapterShelf(
        package.manifest,
        find,
        executor.load_adapter,
        is_sealed=package.seal is not None,
        secret_of=secret_of,
        admit=gate.admit,
    )
    if first:
        shelf.take(first)
    return shelf


def _started(
    model: OpenedModel,
    settings: Settings,
    facts: DeviceFacts,
    fixed: Limits,
    wishes: EngineWishes,
    path: Path,
    package: Package | None,
) -> Engine:
    try:
        engine = start_engine(model, settings, facts, fixed, wishes)
    except BaseException:  # also Ctrl-C: nothing stays open, and it is raised again
        close_all([model.executor, *model.resources])
        raise
    _write_down(settings, path, package)
    return engine


def _write_down(settings: Settings, path: Path, package: Package | None) -> None:
    """That a model was opened. A full disk keeps nobody from using one."""
    log = AuditLog(settings.audit_path)
    if package is None or package.trust is None:
        log.note("model-opened", model=path.name, engine="onnx")
        return
    key = package.trust.key
    manifest_sha256 = manifest_id(package.manifest)
    signed_by = key.fingerprint if key is not None else None
    version = package.manifest.version
    log.note("model-opened", model=path.name, manifest=manifest_sha256, signed_by=signed_by, version=version)


def _open_package(
    package: Package,
    settings: Settings,
    facts: DeviceFacts,
    choice: KernelChoice,
    kv_format: KvFormat,
    shelf_of: Callable[[KernelExecutor], AdapterShelf],
    *,
    num_threads: int,
    routing_log: RoutingLog | None,
) -> OpenedModel:
    """Closes the package if it fails."""
    opened: list[Closeable] = [package]
    try:
        text_settings = parse_text_settings(package.file("text.json"))
        tokenizer = Tokenizer.from_json(package.file("tokenizer.json"), text_settings)
        manifest = manifest_id(package.manifest)
        policy = usual_policy(package.manifest.model)
        resources: list[Closeable] = [package]
        if policy is not None:
            may_keep = partial(_may_keep_statistics, package, settings)
            resources.insert(0, ExpertFile(settings.home, manifest, policy, may_keep))
        executor = KernelExecutor(
            package,
            choice,
            num_threads=num_threads,
            kv_format=kv_format,
            read_mode=partial(read_mode_for, settings.home, package),
            expert_policy=policy,
        )
        opened.insert(0, executor)
        if routing_log is not None:
            executor.log_routing(routing_log)
        return OpenedModel(
            executor,
            package.manifest.model,
            tokenizer,
            template_of(package, text_settings),
            _recommended_sampling(package),
            identity=_identity(manifest, choice.name, kv_format),
            used_page_bytes=used_page_bytes(package.manifest.model, kv_format),
            cost_file=cost_file_of(settings.home, package.manifest, facts, choice.name, kv_format),
            warm=executor.weights.warm_all,
            pages_owner=plain_owner(manifest) if package.seal is None else sealed_owner(package.seal.sealing),
            pages_key=None if package.seal is None else package.seal.pages_key(),
            is_current=partial(_lies_there, package.path, is_sealed=package.seal is not None),
            resources=tuple(resources),
            adapters=shelf_of(executor),
        )
    except BaseException:  # as above
        close_all(opened)
        raise


def _may_keep_statistics(package: Package, settings: Settings) -> bool:
    """Of its experts, which follow a little from what was said."""
    return package.seal is None and not os.path.lexists(settings.home / DATA_SEAL_NAME)


def _lies_there(path: Path, *, is_sealed: bool) -> bool:
    """A model, sealed or plain as it was."""
    return os.path.lexists(path / MANIFEST_NAME) and os.path.lexists(path / SEAL_NAME) == is_sealed


def _identity(manifest_id: str, kernels: str, kv_format: str) -> bytes:
    """Of the pages that this model computes here. Other weights, kernels or layouts compute others."""
    return identity_of(
        {
            "manifest": manifest_id,
            "adapter": "",
            "kv_format": kv_format,
            "kernels": build_of(kernels),
            "pocketseek": __version__,
        }
    )


def _recommended_sampling(package: Package) -> SamplingParams:
    return parse_recommended(package.file("sampling.json")) if package.has_file("sampling.json") else SamplingParams()
