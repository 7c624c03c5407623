"""What this machine can do at most: bytes read and multiply-adds per second, all threads at once.

    python benchmarks/machine_limits.py [--threads 2] [--set avx512] [--buffer-mb 1024]

Best of several short runs (kernels/measure.py); takes about two seconds and the buffer's memory. Ends in a JSON line.
"""

from __future__ import annotations

import argparse
import json

from pocketseek.kernels.choose import choose_kernels
from pocketseek.kernels.measure import MachineLimits, measure_limits

BUFFER_MB = 1024  # twice the largest last-level cache among the machines these benchmarks ran on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", default=None, help="instruction set; default: the best one here")
    parser.add_argument("--buffer-mb", type=int, default=BUFFER_MB, help="memory that is read")
    args = parser.parse_args()
    limits = measure_limits(choose_kernels(args.set).name, args.threads, buffer_bytes=args.buffer_mb * 1024 * 1024)
    print_limits(limits)
    print(json.dumps({"benchmark": "machine_limits", "buffer_mb": args.buffer_mb, **as_json(limits)}))


def print_limits(limits: MachineLimits) -> None:
    print(f"{limits.instruction_set}, {limits.num_threads} threads")
    print(f"read bandwidth   {limits.read_bandwidth_bytes_per_s / 1e9:8.1f} GB/s")
    print(f"int8             {limits.int8_multiply_adds_per_s / 1e9:8.1f} G multiply-adds/s")
    print(f"f32              {limits.f32_multiply_adds_per_s / 1e9:8.1f} G multiply-adds/s")


def as_json(limits: MachineLimits) -> dict[str, object]:
    return {
        "instruction_set": limits.instruction_set,
        "threads": limits.num_threads,
        "read_bandwidth_bytes_per_s": limits.read_bandwidth_bytes_per_s,
        "int8_multiply_adds_per_s": limits.int8_multiply_adds_per_s,
        "f32_multiply_adds_per_s": limits.f32_multiply_adds_per_s,
    }


if __name__ == "__main__":
    main()
