"""What can be known to be wrong with a study before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from basewise.biology.discovery import check_installed
from basewise.errors import ConfigError, DataError
from basewise.evaluate.base_calls import read_calls
from basewise.motifs.motif import check_tss
from basewise.study import gene_tables
from basewise.study.as_published import element
from basewise.study.biology import panel_of
from basewise.study.study import Study
from basewise.types import BACKGROUND, Record

__all__ = ["check"]


def check(study: Study, records: Mapping[str, Sequence[Record]], root: Path | None = None) -> None:
    """Refuse what would fail only after models were trained.

    Parameters
    ----------
    records : mapping
        Of every split.
    root : Path, optional
        The folder that paths of the study are relative to.

    Raises
    ------
    ConfigError
        If the target is no class of the training data, motifs need a TSS that is not given, or
        the panel has no motif that the letters of a published reading are taken for.
    DataError
        If a file of calls is missing or names no chromosome of test, labelled regions are to be
        explained and test has none, there are fewer than two classes, a split has a class that
        train has not, or the TSS lies outside a record.
    UnknownName
        If the panel has no such name.
    MissingExtra
        If motifs are to be discovered and the libraries for it are not installed.
    """
    names = {str(record.label) for record in records["train"]}
    if all(source.of_bases for source in study.models.values()):
        names.add(BACKGROUND)  # is there beside every labelled stretch
    labels = sorted(names)
    if study.target.label not in labels:
        raise ConfigError(
            f"[target] label = {study.target.label!r} is no class of the training "
            f"data; its classes are {', '.join(labels)}."
        )
    gene_tables.check(study, root)
    if len(labels) < 2:
        raise DataError(
            f"All {len(records['train']):,} training records are {labels[0]!r}; "
            "a classifier needs two classes."
        )
    for split, some in records.items():
        for record in some:
            if str(record.label) not in labels:
                raise DataError(
                    f"Record {record.id!r} of {split} has the class {record.label!r}, which no "
                    f"training record has; theirs are {', '.join(labels)}."
                )
    named = [*study.bases.files(root).items()]
    named += [("genome", path) for path in study.bases.genome_files(root)]
    for name, path in named:
        if not path.exists():
            raise DataError(
                f"{path} does not exist ([bases] {name} = {path.name!r}); say where the data lie "
                "with --data DIR."
            )
    for path in study.bases.files(root).values():
        read_calls(path, records["test"])  # names of chromosomes as in the data, or a line about it
    if isinstance(study.target.where, str):
        _check_regions(study, records)
    if study.as_published.word:
        element(study.as_published, study.biology)
    if study.biology.panel == "none":
        return
    if study.biology.discovery:
        check_installed()
    motifs, tss = panel_of(study.biology.panel), study.data.tss
    if tss is None and any(motif.window for motif in motifs):
        raise ConfigError(
            f"[biology] panel = {study.biology.panel!r} looks for motifs around the TSS; give "
            "[data] tss, the 0-based index of the base +1 in every sequence, or panel = 'none'."
        )
    check_tss(records["test"], motifs, tss)


def _check_regions(study: Study, records: Mapping[str, Sequence[Record]]) -> None:
    """Refuse regions that there are none of, and tables that read one number of all records."""
    label, where = study.target.label, study.target.where
    labelled = any(span.name == label for record in records["test"] for span in record.truth)
    if where == "labelled" and not labelled:
        raise DataError(
            f"[target] where = 'labelled': no test record has a stretch labelled {label!r}."
        )
    # Of controls, labels of sequences are permuted and bases moved; motifs and letters are looked
    # for in whole sequences: none of these knows of regions.
    asked = {
        "controls": bool(study.controls.use),
        "biology": study.biology.panel != "none",
        "as_published": bool(study.as_published.word),
        "genes": study.genes is not None,
        "conservation": study.conservation is not None,
    }
    for table, given in asked.items():
        if given:
            raise ConfigError(
                f"[{table}] cannot go with [target] where = {where!r} yet: it reads one number of "
                "every record, and here each has a region of its own; leave one of them out."
            )
