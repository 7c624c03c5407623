"""llama.cpp in little memory: `small_memory.py` starts it with the peer's interpreter.

Weights stay mapped (no repacking): with the default the anonymous copy alone is larger than the limit, and it is
killed. `--repack` shows that.
"""

from __future__ import annotations

import sys

import small_workload
from peer_llama_cpp import LlamaCppRunner

REPACK = "--repack"

if __name__ == "__main__":
    small_workload.main(lambda job: LlamaCppRunner(job, repack=REPACK in sys.argv[2:]))
