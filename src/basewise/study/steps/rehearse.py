"""Try every explainer on every model before any is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.study import rehearsal
from basewise.study.files import contents

if TYPE_CHECKING:
    from basewise.study.job import Job

__all__ = ["rehearse"]


def rehearse(job: Job) -> None:
    """Refuse what would fail late; nothing is kept, and what is in the folder stays as it is."""
    asked = [job.lock[table] for table in ("models", "explainers", "target")]
    files = contents(list(job.study.explainers.values()))
    said = job.said("rehearse", asked, job.origins, job.lock["hashes"], files, job.seed)
    if job.ledger.done("rehearse", said):
        return
    with job.watcher.step("rehearse", None) as step:
        rehearsal.rehearse(job.study, job.records, job.explained, step.at)
    job.ledger.record("rehearse", said)
