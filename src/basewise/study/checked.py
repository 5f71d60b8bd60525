"""What can be known to be wrong with a study before anything is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from basewise.biology.discovery import check_installed
from basewise.errors import ConfigError, DataError
from basewise.motifs.motif import check_tss
from basewise.study.as_published import element
from basewise.study.biology import panel_of
from basewise.study.study import Study
from basewise.types import Record

__all__ = ["check"]


def check(study: Study, records: Mapping[str, Sequence[Record]]) -> None:
    """Refuse what would fail only after models were trained.

    Parameters
    ----------
    records : mapping
        Of every split.

    Raises
    ------
    ConfigError
        If the target is no class of the training data, motifs need a TSS that is not given, or
        the panel has no motif that the letters of a published reading are taken for.
    DataError
        If there are fewer than two classes, a split has a class that train has not, or the TSS
        lies outside a record.
    UnknownName
        If the panel has no such name.
    MissingExtra
        If motifs are to be discovered and the libraries for it are not installed.
    """
    labels = sorted({str(record.label) for record in records["train"]})
    if study.target.label not in labels:
        raise ConfigError(
            f"[target] label = {study.target.label!r} is no class of the training "
            f"data; its classes are {', '.join(labels)}."
        )
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
