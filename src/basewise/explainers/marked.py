"""Units that something is known about: motifs that occur, features that are annotated."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, field_validator, model_validator

from basewise.data.spans import read_spans
from basewise.errors import DataError, UnknownName
from basewise.explainers.units import Rest
from basewise.motifs.library import read_motifs
from basewise.motifs.motif import Motif, check_tss
from basewise.motifs.panel import PANELS
from basewise.motifs.scan import Scanner, in_window
from basewise.registry import component
from basewise.types import Ints, Record, Span, Tokens

__all__ = ["Features", "Motifs", "merged"]


def merged(spans: Ints) -> Ints:
    """Stretches, (u, 2), ascending, of which those that share a base became one."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    reached = np.maximum.accumulate(spans[:, 1])
    first = np.flatnonzero(np.append(True, spans[1:, 0] >= reached[:-1]))
    return np.stack([spans[first, 0], reached[np.append(first[1:], len(spans)) - 1]], axis=1)


@component
class Features:
    """One unit per annotated feature; those that overlap are one.

    Attributes
    ----------
    file : str or None
        Features by record id: BED (id, start, end, name) or a table with the columns
        `record_id`, `start` and `end`, 0-based and half-open on the record as it is read. None:
        the record's own, `Record.truth`.
    rest : str
        The bases in no feature are `one` more unit, or always `kept`.
    """

    files: ClassVar[tuple[str, ...]] = ("file",)
    file: str | None = None
    rest: Rest = "one"

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        found = record.truth if self.file is None else self._annotated.get(record.id, ())
        where = "its truth" if self.file is None else self.file
        if not found:
            raise DataError(
                f"Record {record.id!r} has no feature in {where}; annotate it, leave it out, or "
                "use units='bases' or 'windows'."
            )
        for start, end, name in found:
            if end > len(record.sequence):
                raise DataError(
                    f"Record {record.id!r} has {len(record.sequence)} bases; in {where} its "
                    f"feature {name!r} reaches from {start} to {end}."
                )
        return merged(np.array([span[:2] for span in found]))

    @functools.cached_property
    def _annotated(self) -> Mapping[str, Sequence[Span]]:
        return read_spans(self.file or "")


@component
class Motifs:
    """One unit per hit of a motif; hits that overlap are one.

    Attributes
    ----------
    panel : str or None
        A panel, such as `core_promoter`, whose motifs count in their windows around the TSS.
    library : str or None
        A file of motifs: MEME, TRANSFAC or JASPAR.
    patterns : list of str
        IUPAC patterns, such as `TATAWAW`, on both strands.
    p : float
        A word is a hit of a matrix when its score has at most this p value; a pattern's hits
        match it.
    tss : int or None
        0-based index of the base +1 in every record, where motifs have windows.
    rest : str
        The bases in no hit are `one` more unit, or always `kept`.
    """

    files: ClassVar[tuple[str, ...]] = ("library",)
    panel: str | None = None
    library: str | None = None
    patterns: tuple[str, ...] = ()
    p: Annotated[float, Field(gt=0, le=1)] = 1e-4
    tss: int | None = None
    rest: Rest = "one"

    @field_validator("panel")
    @classmethod
    def _known(cls, panel: str | None) -> str | None:
        if panel is not None and panel not in PANELS:
            raise UnknownName("panel", panel, PANELS)
        return panel

    @field_validator("patterns")
    @classmethod
    def _letters(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            Motif.from_iupac(pattern, pattern)
        return patterns

    @model_validator(mode="after")
    def _one_source(self) -> Motifs:
        if (self.panel is not None) + (self.library is not None) + bool(self.patterns) != 1:
            raise ValueError(
                "motifs come from one of panel = 'core_promoter', library = 'file' and "
                "patterns = [...]; give one of them"
            )
        return self

    def spans(self, record: Record, tokens: Tokens) -> Ints:
        motifs = self._scanner.motifs
        check_tss([record], motifs, self.tss)
        hits = self._scanner.scan([record])
        if self.tss is not None:
            hits = in_window(hits, motifs, self.tss)
        if hits.empty:
            raise DataError(
                f"Record {record.id!r} has no hit of the {len(motifs)} motifs of "
                f"{self.panel or self.library or ', '.join(self.patterns)}; give others or a "
                "larger p, leave it out, or use units='bases' or 'windows'."
            )
        return merged(hits[["start", "end"]].to_numpy())

    @functools.cached_property
    def _scanner(self) -> Scanner:
        motifs: Sequence[Motif]
        if self.panel is not None:
            motifs = PANELS[self.panel]
        elif self.library is not None:
            motifs = read_motifs(self.library)
        else:
            motifs = [Motif.from_iupac(pattern, pattern) for pattern in self.patterns]
        return Scanner(motifs, self.p)
