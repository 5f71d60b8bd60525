"""Find the regions to explain, where these are what models predict."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.errors import DataError
from basewise.store import write_records
from basewise.study.records import called, digest, drawn

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["regions"]

FILE = "data/explained.parquet"


def regions(job: Job) -> None:
    """Write the records to explain, which could not be known before models were trained.

    Raises
    ------
    DataError
        If no model calls a base.
    """
    study = job.study
    if study.target.where != "predicted":
        return

    def make(_: Step) -> None:
        found = called(job.models, job.records["test"], study.target.label)
        if not found:
            raise DataError(
                f"[target] where = 'predicted': no model calls a base of test "
                f"{study.target.label}, so there is nothing to explain; say where = 'labelled'."
            )
        some = drawn(found, study.about.explained, job.seed)
        write_records(job.folder / FILE, some)

    hashes = {key: value for key, value in job.lock["hashes"].items() if key != "explained"}
    job.once("regions", [hashes, study.target.label, study.about.explained, job.seed], [FILE], make)
    job.explained = job.run.records("explained")
    job.lock["hashes"]["explained"] = digest(job.explained)
    job.save_lock()
