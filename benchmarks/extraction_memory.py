"""How much memory does reading a document take, in the reading process and in ours, and is its progress steady?

    python benchmarks/extraction_memory.py FILE

Prints the peak of both, the document's text, and the longest wait between two pages; ends in one JSON line.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path

from pocketseek.apps.doc.read import read_document


def main() -> None:
    before_mb = _peak_mb(resource.RUSAGE_SELF)
    times = [time.monotonic()]
    document = read_document(Path(sys.argv[1]), progress=lambda done, total: times.append(time.monotonic()))
    figures = {
        "parts": len(times) - 1,
        "characters": len(document.text),
        "reader_peak_mb": _peak_mb(resource.RUSAGE_CHILDREN),
        "own_growth_mb": _peak_mb(resource.RUSAGE_SELF) - before_mb,
        "seconds": round(times[-1] - times[0], 1),
        "longest_wait_s": round(max(after - before for before, after in pairwise(times)), 2),
    }
    for name, value in figures.items():
        print(f"{name:16} {value}")
    print(json.dumps(figures))


def _peak_mb(who: int) -> int:
    return resource.getrusage(who).ru_maxrss // 1000


if __name__ == "__main__":
    main()
