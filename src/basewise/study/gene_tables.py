"""The tables of a run that say which genes of a genome explanations single out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from basewise.biology.region_scores import (
    SCORES,
    gene_sets,
    region_scores,
    set_enrichment,
)
from basewise.data.features import noncoding
from basewise.errors import ConfigError, DataError, UnknownName
from basewise.stats import wilson
from basewise.study.genomes import GenomeWindows, genome_of
from basewise.types import Attribution, Floats, Interval, Record

if TYPE_CHECKING:
    from basewise.study.gene_settings import Genes
    from basewise.study.genomes import GenomeFiles
    from basewise.study.results import Run
    from basewise.study.study import Study

__all__ = ["TABLES", "check", "files", "tables", "track_of"]

_EXPLANATION = ("model", "explainer")
_PLACE = ("id", "name", "kind", "chrom", "start", "end", "strand")
TABLES: Mapping[str, tuple[str, ...]] = {
    "region_scores": (*_EXPLANATION, *_PLACE, *SCORES, "quantile_as_published"),
    "region_kinds": (*_EXPLANATION, "kind", "regions", *SCORES),
    "region_sets": (*_EXPLANATION, "set", "listed", "missing", "genes", *SCORES),
    "genome_calls": (
        "model", "genome", "label", "in_training", "learned", "target", "windows", "called",
        "share", "low", "high",
    ),
}  # fmt: skip
"""The tables by name, with their columns.

region_scores, region_kinds, region_sets : see `biology.region_scores.SCORES`; of a set also how
    many names its list has and how many of these no gene of the annotation has; `genes` are those
    with a score.
genome_calls : of every genome, how many of its test windows are predicted the class `target`, with
    Wilson's interval of the share; whether the model learned from other windows of it, and how many
    genomes of its label it learned from, whether they are in test or not.
"""


def check(study: Study, root: Path | None) -> None:
    """Refuse what the tables could not be made of.

    Raises
    ------
    ConfigError
        If the data are not windows of genomes, or the genome has no annotation.
    UnknownName
        If `[data.genomes]` has no such genome.
    DataError
        If the annotation is not one of the genome, or a list of genes cannot be read.
    """
    settings = study.genes
    if settings is None:
        return
    if not isinstance(study.data, GenomeWindows):
        raise ConfigError("[genes] reads windows of genomes; it needs [data] type = 'genomes'.")
    if settings.genome not in study.data.genomes:
        raise UnknownName("genome in [data.genomes]", settings.genome, study.data.genomes)
    if not study.data.genomes[settings.genome].annotation:
        raise ConfigError(
            f"[genes] genome = {settings.genome!r}: [data.genomes.{settings.genome}] needs an "
            "annotation, a GFF3, GTF or BED."
        )
    study.data.genomes[settings.genome].annotated(settings.genome, root).genes()
    for each in settings.sets.values():
        each.names(root)


def files(study: Study, root: Path | None) -> list[Path]:
    """What the tables are made of, beside the run's own files."""
    settings, data = study.genes, study.data
    if settings is None or not isinstance(data, GenomeWindows):
        return []
    genome = data.genomes[settings.genome]
    named = [genome.annotation, *(each.file for each in settings.sets.values())]
    return [(root or Path()) / name for name in named]


def tables(
    run: Run, settings: Genes, genome: GenomeFiles, root: Path | None, seed: int
) -> dict[str, pd.DataFrame]:
    """Every table of `TABLES`.

    Raises
    ------
    DataError
        If no explained window lies on the genome.
    """
    annotation = genome.annotated(settings.genome, root)
    opened = genome.open(root)
    text = {
        f"{settings.genome}:{contig}": opened.fetch(Interval(contig, 0, b))
        for contig, b in opened.lengths.items()
    }
    records = [r for r in run.records("explained") if genome_of(r) == settings.genome]
    if not records:
        raise DataError(f"No explained window lies on {settings.genome}; explain more of test.")
    genes = annotation.genes()
    between = noncoding(
        genes, annotation.lengths, upstream=settings.upstream, downstream=settings.downstream
    )
    listed = {name: each.names(root) for name, each in settings.sets.items()}
    sets, missing = gene_sets(genes, listed)
    about = {
        "listed": [len(names) for names in listed.values()],
        "missing": [len(names) for names in missing.values()],
    }
    found: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}
    for model in run.models:
        found["genome_calls"].append(_calls(run, model))
        for explainer in run.explainers:
            track = track_of(run.attributions(model, explainer), records, annotation.lengths)
            more: Any = {"draws": settings.draws, "seed": seed}
            of = {"model": model, "explainer": explainer}
            for null in ("shift", "matched"):
                held = region_scores(track, [*genes, *between], null=null, sequences=text, **more)
                found["region_scores"].append(held.regions.assign(**of))
                found["region_kinds"].append(held.kinds.assign(**of))
                if sets:
                    own = set_enrichment(track, genes, sets, null=null, sequences=text, **more)
                    found["region_sets"].append(own.assign(**about, **of))
    return {name: _table(parts, TABLES[name]) for name, parts in found.items()}


def track_of(
    found: Sequence[Attribution], records: Sequence[Record], lengths: Mapping[str, int]
) -> dict[str, Floats]:
    """Scores on the bases of contigs, from those of records that have a place on them.

    Returns
    -------
    dict of str to (b,) float
        By contig; NaN where no record lies, the mean where several do.
    """
    known = {a.record_id: a for a in found}
    total = {chrom: np.zeros(b) for chrom, b in lengths.items()}
    count = {chrom: np.zeros(b) for chrom, b in lengths.items()}
    for record in records:
        at = record.locus
        if at is None or at.chrom not in lengths or record.id not in known:
            continue
        scores = known[record.id].per_base()
        total[at.chrom][at.start : at.end] += scores[::-1] if at.strand == "-" else scores
        count[at.chrom][at.start : at.end] += 1
    with np.errstate(invalid="ignore"):
        return {chrom: np.asarray(total[chrom] / count[chrom]) for chrom in lengths}


def _calls(run: Run, model: str) -> pd.DataFrame:
    """How often windows of each genome are predicted the class that is explained."""
    target = run.lock["target"]["label"]
    learned = {genome_of(record): record.label for record in run.records("train")}
    home = {record.id: genome_of(record) for record in run.records("test")}
    frame = run.predictions(model)
    frame = frame[frame["split"] == "test"]
    frame = frame.assign(genome=frame["record_id"].map(home), called=frame["predicted"] == target)
    rows = []
    for (label, genome), own in frame.groupby(["label", "genome"]):
        share = wilson(int(own["called"].sum()), len(own))
        alike = sum(other == label for other in learned.values())
        rows.append(
            (model, genome, label, genome in learned, alike, target, len(own),
             int(own["called"].sum()), *share[:3])
        )  # fmt: skip
    return pd.DataFrame(rows, columns=list(TABLES["genome_calls"]))


def _table(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    some = [part for part in parts if len(part)]
    if not some:
        return pd.DataFrame(columns=list(columns))
    return pd.concat(some, ignore_index=True)[list(columns)]
