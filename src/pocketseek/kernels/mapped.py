"""stub until native merges"""
from __future__ import annotations
import numpy as np
from numpy.typing import NDArray
def resident_bytes(data: NDArray[np.uint8]) -> int | None:
    return None
class FaultGuard:
    available = False
    def watch(self, data: NDArray[np.uint8]) -> None: ...
    def forget(self, data: NDArray[np.uint8]) -> None: ...
    def take_faults(self) -> list[tuple[int, int]]: return []
    def remap(self, data: NDArray[np.uint8], fd: int, file_offset: int) -> None: ...
