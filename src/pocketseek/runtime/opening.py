"""What can be known of a package on this device before an engine is opened for it: shared by those who open one."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path

from pocketseek.device.physical_cores import count_cores, one_per_core
from pocketseek.device.probe import DeviceFacts
from pocketseek.kernels.kv_memory import KvFormat
from pocketseek.package.manifest import Manifest, render_manifest
from pocketseek.package.reader import Package
from pocketseek.package.sealing.key_slots import Secret, passphrase_secret
from pocketseek.runtime.cost_file import CostFile
from pocketseek.settings import Settings
from pocketseek.text.chat_template import DEFAULT_TEMPLATE, ChatTemplate
from pocketseek.types import TextSettings


def template_of(package: Package, settings: TextSettings) -> ChatTemplate:
    name = "chat_template.jinja"
    source = package.file(name).decode("utf-8", "replace") if package.has_file(name) else DEFAULT_TEMPLATE
    return ChatTemplate(source, settings.bos_token, settings.eos_token)


def cost_file_of(
    home: Path, manifest: Manifest, facts: DeviceFacts, kernels_name: str, kv_format: KvFormat
) -> CostFile:
    """Threads and cores change while the engine runs; what else a pass's time depends on is in the file's name."""
    processor = facts.cpu_model or facts.soc_model or facts.architecture or "unknown"
    device = {"processor": processor, "kernels": kernels_name, "kv": kv_format}
    return CostFile(home, hashlib.sha256(render_manifest(manifest)).hexdigest(), device)


def usual_secret(settings: Settings) -> Secret | None:
    """What the environment says."""
    return passphrase_secret(settings.passphrase) if settings.passphrase else None


def available_bytes(facts: DeviceFacts) -> int | None:
    """Free memory, or what a limit on this process's address space (ulimit -v) may leave of it."""
    if not has_address_limit():
        return facts.memory_available_bytes
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(limit, facts.memory_available_bytes or limit) // 2


def has_address_limit() -> bool:
    """Whether this process may not have any number of addresses (ulimit -v)."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def cool_cores(facts: DeviceFacts) -> tuple[int, ...]:
    """Fast cores without the fastest group, which takes the most power for what it does; empty if all are alike. One
    processor of each."""
    fast = set(facts.performance_cores or ()) & set(facts.usable_cores or ())
    groups = [kept for cluster in facts.clusters if (kept := [core for core in cluster.cores if core in fast])]
    return one_per_core((core for group in groups[1:] for core in group), facts.physical_cores)


def num_cores(facts: DeviceFacts) -> int:
    """Performance cores that this process may use, within the container's share of processor time. A core with SMT
    counts once: its two threads share the units that multiply and the way to memory."""
    cores = facts.performance_cores or facts.usable_cores
    number = count_cores(cores, facts.physical_cores) if cores else 1
    return max(1, min(number, int(facts.cpu_quota))) if facts.cpu_quota else number
