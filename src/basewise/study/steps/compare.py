"""Ask whether explanations agree, and which words carry the scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from basewise.evaluate.occurrences import write_occurrences
from basewise.study import comparisons

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["compare"]

TABLES = ["metrics/agreement", "metrics/agreement_records", "metrics/consensus"]
TABLES += [f"rankings/{name}" for name in ("tokens", "kmers", "combined", "token_ratios")]


def compare(job: Job) -> None:
    """Write tables of agreement and of rankings, and every occurrence of every token."""

    def make(_: Step) -> None:
        tokenizers = {name: model.tokenizer for name, model in job.models.items()}
        settings = job.study.compare
        ranked, found = comparisons.rankings(job.run, tokenizers, job.seed, settings.kmer)
        for name, frame in found.items():
            write_occurrences(job.folder / "rankings" / "occurrences" / f"{name}.parquet", frame)
        agreed = comparisons.agreements(job.run, job.seed, settings)
        tables = [*agreed, comparisons.consensuses(job.run)]
        for name, frame in zip(TABLES, [*tables, *ranked], strict=True):
            job.write(name, frame)

    files = [f"{name}.parquet" for name in TABLES]
    job.once("compare", [job.lock["compare"], job.lock["places"], job.seed], files, make)
