"""What signatures and the audit log cost when a model is opened; prints a table and one JSON line.

    python benchmarks/trust_check.py PACKAGE [--repeats 20]

Works on a copy of the package's manifest in a temporary data directory: reading and parsing it, which happens without
signatures too; judging it unsigned and signed; a line of the audit log, synced to the storage of --folder (default: the
system's temporary one, which may be memory). Medians in milliseconds; spread is (p90 - p10) / median.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pocketseek.package.manifest import parse_manifest, read_manifest_bytes
from pocketseek.package.trust.audit import AuditLog
from pocketseek.package.trust.gatekeeper import Gatekeeper
from pocketseek.package.trust.sign import make_key
from pocketseek.package.trust.signing import sign_package
from pocketseek.package.trust.trust_store import TrustedKey, TrustStore, with_key


def timed(action: Callable[[], object], repeats: int) -> dict[str, float]:
    times_ms = []
    for _ in range(repeats):
        started_s = time.perf_counter()
        action()
        times_ms.append(1000 * (time.perf_counter() - started_s))
    deciles = statistics.quantiles(times_ms, n=10)
    median = statistics.median(times_ms)
    return {"median_ms": round(median, 3), "spread": round((deciles[-1] - deciles[0]) / median, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        home = Path(folder)
        model = home / "models" / "model"
        model.mkdir(parents=True)
        shutil.copy(options.package / "manifest.json", model)
        store, log = TrustStore(home / "trust.json"), AuditLog(home / "audit.log")
        gate = Gatekeeper(store, home / "models")
        data = read_manifest_bytes(model)
        manifest = parse_manifest(data)
        results = {
            "read_and_parse": timed(lambda: parse_manifest(read_manifest_bytes(model)), options.repeats),
            "judge_unsigned": timed(lambda: gate.admit(model, data, manifest), options.repeats),
        }
        key = make_key("bench")
        sign_package(model, key, created_s=int(time.time()))
        store.change(lambda now: with_key(now, TrustedKey(key.public, int(time.time()))))
        gate.admit(model, data, manifest)  # the first one remembers who signed it
        results["judge_signed"] = timed(lambda: gate.admit(model, data, manifest), options.repeats)
        results["audit_line"] = timed(lambda: log.write("model-opened", model="model"), options.repeats)
    for name, result in results.items():
        print(f"{name:16} {result['median_ms']:9.3f} ms   spread {result['spread']:.0%}")
    print(json.dumps({"manifest_bytes": len(data), "repeats": options.repeats, **results}))


if __name__ == "__main__":
    main()
