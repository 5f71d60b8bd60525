"""Repeat a published reading of importance, and what it leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.study import as_published as published

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["as_published"]

FILES = [f"as_published/{name}.parquet" for name in published.AS_PUBLISHED]


def as_published(job: Job) -> None:
    """Write its tables, where `[as_published]` names a word."""
    study, tss = job.study, job.study.data.tss
    if not study.as_published.word:
        return

    def make(_: Step) -> None:
        for name, frame in published.tables(
            job.run, study.as_published, study.biology, study.target, tss, job.seed
        ).items():
            job.write(f"as_published/{name}", frame)

    tables = [job.lock["as_published"], job.lock["biology"]]
    depends = [tables, job.lock["places"], job.lock["hashes"]["data"], tss, job.seed]
    job.once("as_published", depends, FILES, make)
