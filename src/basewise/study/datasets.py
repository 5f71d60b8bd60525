"""Where a study's records come from: files, or a grammar that makes them.

Each component's verb is `splits(root, seed) -> {"train": Split, "dev": Split, "test": Split}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, PlainValidator

from basewise.data import GRAMMARS, read_report
from basewise.errors import ConfigError, DataError
from basewise.registry import Registry, component
from basewise.types import Record

__all__ = ["Dataset", "Files", "Grammar", "Split"]

NAMES = ("train", "dev", "test")


@dataclass(frozen=True, eq=False)
class Split:
    """The records of one split, where they came from, and how many rows were skipped."""

    records: list[Record]
    source: str
    skipped: Mapping[str, int] = field(default_factory=dict)


class Dataset(Protocol):
    """Gives the splits of a study.

    `tss` is the 0-based index of the base +1 in every sequence, where they are aligned to one.
    """

    @property
    def tss(self) -> int | None: ...

    def splits(self, root: Path | None, seed: int) -> dict[str, Split]: ...


@component
class Files:
    """Three files of sequences; paths are relative to the data folder that the run is given.

    Attributes
    ----------
    train, dev, test : str
        CSV, TSV, FASTA, Parquet; the dev split is for choosing, the test split is touched once.
    sequence, label : str or None
        Names of the columns, where they cannot be found.
    labels : mapping
        From the values in the files to class names; other values are refused.
    tss : int or None
        0-based index of the base +1 in every sequence.
    on_error : str
        `raise` at the first bad rows, or `skip` them, counted and shown.
    """

    train: str
    dev: str
    test: str
    sequence: str | None = None
    label: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    tss: Annotated[int, Field(ge=0)] | None = None
    on_error: Literal["raise", "skip"] = "raise"

    def splits(self, root: Path | None, seed: int) -> dict[str, Split]:
        return {name: self._split(name, root) for name in NAMES}

    def _split(self, name: str, root: Path | None) -> Split:
        path = (root or Path()) / getattr(self, name)
        if not path.exists():
            raise DataError(
                f"{path} does not exist ([data] {name} = {getattr(self, name)!r}); say where the "
                "data lie with --data DIR."
            )
        report = read_report(
            path,
            sequence=self.sequence,
            label=self.label,
            labels=self.labels or None,
            on_error=self.on_error,
        )
        unlabelled = sum(record.label is None for record in report.records)
        if unlabelled:
            raise DataError(f"{path}: {unlabelled} of {len(report.records)} rows have no label.")
        return Split(report.records, getattr(self, name), report.counts)


@component
class Grammar:
    """Records that a grammar makes, the planted stretches kept as truth.

    Attributes
    ----------
    grammar : component
        Which grammar, with its settings.
    train, dev, test : int
        How many records of each.
    """

    grammar: Annotated[Any, PlainValidator(GRAMMARS.build)] = Field(
        default_factory=lambda: GRAMMARS.build("promoter")
    )
    train: Annotated[int, Field(ge=10)] = 8000
    dev: Annotated[int, Field(ge=10)] = 1000
    test: Annotated[int, Field(ge=10)] = 1000

    @property
    def tss(self) -> int | None:
        found: int | None = self.grammar.tss
        return found

    def splits(self, root: Path | None, seed: int) -> dict[str, Split]:
        sizes = [self.train, self.dev, self.test]
        made = self.grammar.make(sum(sizes), seed)
        if len(made) != sum(sizes):
            raise ConfigError(f"the grammar made {len(made)} records, {sum(sizes)} were asked for.")
        name = Registry.name_of(self.grammar)
        ends = [sum(sizes[:i]) for i in range(4)]
        return {
            split: Split(made[a:b], f"grammar {name}, seed {seed}")
            for split, (a, b) in zip(NAMES, pairwise(ends), strict=True)
        }
