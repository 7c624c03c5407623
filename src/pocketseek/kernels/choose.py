"""Which kernels to use on this processor, and why."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pocketseek.errors import NativeCoreError, UsageError
from pocketseek.kernels.reference import ReferenceKernels
from pocketseek.types import ModelConfig

if TYPE_CHECKING:
    from pocketseek.kernels.contract import ModelKernels

NATIVE_SETS = ("scalar", "avx2", "avx-vnni", "avx512", "neon-dotprod", "neon-i8mm")
_ABI = 10
_REMEDY = "install a C++20 compiler (Debian: apt install g++; Termux: pkg install clang) and run `pip install .` again"


@dataclass(frozen=True)
class KernelChoice:
    """name: "reference" or an instruction set of the compiled core; reason: one sentence for `pocketseek device`."""

    name: str
    reason: str

    def open(self, config: ModelConfig, num_threads: int) -> ModelKernels:
        """The kernels for one model."""
        if self.name == "reference":
            return ReferenceKernels(config)
        from pocketseek.kernels.native import NativeKernels

        return NativeKernels(config, self.name, num_threads)


def supported_sets() -> list[str]:
    """Instruction sets of the compiled core on this processor, slowest first. NativeCoreError if there is no core."""
    try:
        from pocketseek.kernels import _native
    except ImportError as error:
        raise NativeCoreError(f"the compiled core cannot be loaded ({error}); {_REMEDY}") from error
    if _native.abi != _ABI:
        raise NativeCoreError(f"the compiled core is of another version (abi {_native.abi}, not {_ABI}); {_REMEDY}")
    return _native.supported_sets()


def build_of(name: str) -> str:
    """What tells one build of the kernels `name` from another. Within a build equal inputs give equal bits, always."""
    if name == "reference":
        return f"reference, numpy {np.__version__}"
    from pocketseek.kernels import _native

    status = os.stat(_native.__file__)
    return f"{name}, abi {_native.abi}, {status.st_size} bytes, {status.st_mtime_ns}"


def choose_kernels(override: str | None = None) -> KernelChoice:
    """The best kernels of this machine, or the ones named by `override` (POCKETSEEK_KERNELS).

    Raises UsageError for an unknown name or a set that this processor lacks, NativeCoreError if the core is missing.
    """
    if override == "reference":
        return KernelChoice("reference", "asked for: plain numpy, slow")
    if override is not None and override not in NATIVE_SETS:
        known = ", ".join(("reference", *NATIVE_SETS))
        raise UsageError(f"there are no kernels named {override!r}; choose one of {known}")
    available = supported_sets()
    if override is None:
        return KernelChoice(available[-1], f"the best of what this processor has: {', '.join(available)}")
    if override not in available:
        raise UsageError(f"this processor does not have {override}; it has {', '.join(available)}")
    return KernelChoice(override, "asked for")
