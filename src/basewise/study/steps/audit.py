"""Say what is wrong with the data before a model is trained on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise import checks
from basewise.store import write_text

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["audit"]


def audit(job: Job) -> None:
    """Write `audit.json`."""

    def make(_: Step) -> None:
        write_text(job.folder / "audit.json", checks.audit(**job.records).to_json())

    job.once("audit", [job.lock["hashes"]["data"]], ["audit.json"], make)
