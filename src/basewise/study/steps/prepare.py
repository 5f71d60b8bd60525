"""Read the data, and keep them."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from basewise.store import fingerprint, write_records, write_text
from basewise.study.checked import check
from basewise.study.identity import refuse_other_data
from basewise.study.records import digest, to_explain

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["prepare", "read"]

SPLITS = ("train", "dev", "test")


def read(job: Job) -> None:
    """Read and validate the splits, and draw the records to explain; nothing is written."""
    with job.watcher.step("read", None):
        job.splits = job.study.data.splits(job.data, job.seed)
        # By split: a record that moves from one to another is other data.
        hashes = {"data": fingerprint([digest(job.records[name]) for name in SPLITS])}
        refuse_other_data(job.study, job.records, hashes["data"], job.folder)
        check(job.study, job.records, job.data)
        job.explained = to_explain(job.study, job.records["test"])
        job.lock["hashes"] = hashes | {"explained": digest(job.explained)}


def prepare(job: Job) -> None:
    """Keep the records, and from now on the settings: the study is one that can be run."""
    job.save_lock()
    summary = {name: _summary(split) for name, split in job.splits.items()}
    known = {name: job.records[name] for name in SPLITS}
    if job.study.target.where != "predicted":  # else known by the step `regions`
        known["explained"] = job.explained

    def make(step: Step) -> None:
        for i, (name, some) in enumerate(known.items(), 1):
            write_records(job.folder / "data" / f"{name}.parquet", some)
            step.at(i)
        write_text(job.folder / "data" / "summary.json", json.dumps(summary, indent=1))

    files = [*(f"data/{name}.parquet" for name in known), "data/summary.json"]
    job.once("prepare", [job.lock["hashes"], summary], files, make, len(known))


def _summary(split: Any) -> dict[str, Any]:
    lengths = [len(record.sequence) for record in split.records]
    return {
        "n": len(lengths),
        "labels": dict(sorted(Counter(str(r.label) for r in split.records).items())),
        "shortest": min(lengths),
        "longest": max(lengths),
        "source": split.source,
        "skipped": dict(split.skipped),
    }
