"""How long an audit of real GUE files takes, and what it finds in them.

Run: python benchmarks/auditing.py [folder of the GUE files]
"""

from __future__ import annotations

import resource
import sys
import time
from collections import Counter
from pathlib import Path

from basewise.checks import CHECKS, audit
from basewise.data import read

DATA = Path("data/gue")
LABELS = {"0": "non-promoter", "1": "promoter"}


def main(folder: Path = DATA) -> None:
    """One row per data set: rows, bases, seconds in all and per check, findings, memory."""
    sets = {"prom_300_all": ("dev", "test"), "prom_core_all": ("train", "dev", "test")}
    print("data set       rows  bases  seconds  by check | error warning info | peak MB")
    for name, names in sets.items():
        splits = {s: read(folder / "prom" / name / f"{s}.csv", labels=LABELS) for s in names}
        seconds, severities = {}, Counter[str]()
        for check in CHECKS.names():
            start = time.perf_counter()
            found = audit(**splits, checks=[check])
            seconds[check] = time.perf_counter() - start
            severities += Counter(finding.severity for finding in found.findings)
        rows = sum(map(len, splits.values()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        parts = ", ".join(f"{check} {took:.1f}" for check, took in seconds.items())
        counts = " ".join(str(severities[level]) for level in ("error", "warning", "info"))
        length = len(splits["test"][0])
        total = sum(seconds.values())
        print(f"{name:14} {rows:6} {length:4} {total:8.1f}  {parts} | {counts} | {peak}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
