"""A process that takes memory, step by step, and keeps it: python memory_hog.py BYTES [willing].

A willing one asks to be the first that the kernel kills. "full" on its output says that it has all of it; it ends with
its input. Nothing but the standard library, and little of that: its own size shall not matter.
"""

import mmap
import sys
import time

STEP_BYTES = 4 << 20
STEP_S = 0.02  # 200 MB/s: an app that is being opened


def main(num_bytes: int, *, willing: bool) -> None:
    if willing:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for start in range(0, num_bytes, STEP_BYTES):
        for page in range(start, min(start + STEP_BYTES, num_bytes), mmap.PAGESIZE):
            memory[page] = 1
        time.sleep(STEP_S)
    print("full", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(int(sys.argv[1]), willing="willing" in sys.argv[2:])
