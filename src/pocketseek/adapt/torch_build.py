"""What the import of PyTorch takes depends on its build: the one for CUDA maps NVIDIA's libraries, used or not."""

from __future__ import annotations

_CPU_BYTES = 420_000_000  # torch, accelerate and the process itself, some slack included; measured on Linux
_CUDA_BYTES = (
    350_000_000  # more than that, without a GPU; the difference of the peaks of one training, measured on Linux
)


def library_bytes() -> int:
    """Of a process that trains, beside the model."""
    import torch  # by who asks, not by who could

    return _CPU_BYTES + (_CUDA_BYTES if torch.version.cuda is not None else 0)
