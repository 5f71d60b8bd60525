"""Hold the genes of a genome, and sets of them, against nulls."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from basewise.study import gene_tables
from basewise.study.genomes import GenomeWindows

if TYPE_CHECKING:
    from basewise.study.job import Job
    from basewise.study.watch import Step

__all__ = ["genes"]

FILES = [f"genes/{name}.parquet" for name in gene_tables.TABLES]


def genes(job: Job) -> None:
    """Write the tables of genes, where `[genes]` asks for them."""
    settings, data = job.study.genes, job.study.data
    if settings is None or not isinstance(data, GenomeWindows):
        return

    def make(_: Step) -> None:
        genome = data.genomes[settings.genome]
        for name, frame in gene_tables.tables(
            job.run, settings, genome, job.data, job.seed
        ).items():
            job.write(f"genes/{name}", frame)

    said = [
        hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in gene_tables.files(job.study, job.data)
    ]
    depends = [job.lock["genes"], said, job.lock["places"], job.lock["hashes"]["data"], job.seed]
    job.once("genes", depends, FILES, make)
