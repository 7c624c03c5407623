"""The processes that train together, through Hugging Face Accelerate: one, or those of `accelerate launch`.

Each learns from a part of every batch; gradients are added up before the step, and all of them make the same step. One
process is the same code with nothing to add. The only user of the library `accelerate`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from pocketseek.adapt.heap import give_large_memory_back


@contextmanager
def torch_threads(num_threads: int | None) -> Iterator[None]:
    """So many threads inside; None: as they are."""
    before = torch.get_num_threads()
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Team:
    """rank 0 .. size - 1; rank 0 leads: it writes and tells."""

    def __init__(self) -> None:
        import accelerate

        give_large_memory_back()
        self._accelerator: Any = accelerate.Accelerator()
        self.rank = int(self._accelerator.process_index)
        self.size = int(self._accelerator.num_processes)
        self.device = torch.device(self._accelerator.device)

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, items: Sequence[Any]) -> list[Any]:
        """What is this process's of them."""
        return list(items[self.rank :: self.size])

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Of every process; in place."""
        if self.size == 1:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        total = self._accelerator.reduce(flat, reduction="sum")
        start = 0
        for tensor in tensors:
            tensor.copy_(total[start : start + tensor.numel()].reshape(tensor.shape))
            start += tensor.numel()

    def wait(self) -> None:
        """Until all are here."""
        self._accelerator.wait_for_everyone()
