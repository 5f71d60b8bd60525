"""Where a study's records come from: files, or a grammar that makes them.

Each component's verb is `splits(root, seed) -> {"train": Split, "dev": Split, "test": Split}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, PlainValidator, model_validator

from basewise.data import GRAMMARS, read_report
from basewise.data.labelled import read_labelled
from basewise.data.splits import split, split_chromosomes
from basewise.data.windows import Windows, other_strand
from basewise.errors import ConfigError, DataError
from basewise.registry import Registry, component
from basewise.types import Record

__all__ = ["Dataset", "Files", "Grammar", "LabelledBases", "LabelledGenome", "Split"]

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


def _windows(given: Any) -> Windows:
    return Windows(**given) if isinstance(given, dict) else given


@component
class LabelledGenome:
    """Windows of a genome whose bases are labelled by BED files.

    The label of a record is that of most of its labelled bases, else `background`; its truth
    holds the labelled stretches. Paths are relative to the data folder that the run is given.

    Attributes
    ----------
    genome : list of str
        FASTA files, plain or gzip.
    labels : table
        From the name of a label to its BED file.
    blacklist : str or None
        BED; windows that touch it are left out.
    windows : table
        How windows are cut: width, step, negatives, N, strands; see
        `basewise.data.windows.Windows`. With `both_strands` only training windows are there
        twice: what is measured is measured once.
    chromosomes : table
        The chromosomes of `train`, `dev` and `test`; others are left out.
    by : {"chromosome", "cluster"}
        Without `chromosomes`: what is never torn apart when windows are divided at random.
        Clusters are windows that are near duplicates or overlap.
    shares : table
        Of train, dev and test, where they are divided at random.
    """

    genome: list[str]
    labels: dict[str, str]
    blacklist: str | None = None
    windows: Annotated[Windows, PlainValidator(_windows)] = Windows()
    chromosomes: dict[str, list[str]] = Field(default_factory=dict)
    by: Literal["chromosome", "cluster"] = "chromosome"
    shares: dict[str, float] = Field(
        default_factory=lambda: {"train": 0.8, "dev": 0.1, "test": 0.1}
    )

    @model_validator(mode="after")
    def _splits_are_named(self) -> LabelledGenome:
        for name, given in (("chromosomes", self.chromosomes), ("shares", self.shares)):
            if given and set(given) != set(NAMES):
                raise ValueError(f"{name} needs {', '.join(NAMES)}, and has {', '.join(given)}")
        return self

    @property
    def tss(self) -> int | None:
        return None

    def splits(self, root: Path | None, seed: int) -> dict[str, Split]:
        at = root or Path()
        records = replace(self.windows, both_strands=False).cut(
            [at / path for path in self.genome],
            {name: at / path for name, path in self.labels.items()},
            blacklist=None if self.blacklist is None else at / self.blacklist,
            seed=seed,
        )
        found = self._divided(records, seed)
        if self.windows.both_strands:
            found["train"] = [r for one in found["train"] for r in (one, other_strand(one))]
        for name, chosen in found.items():
            if not any(record.truth for record in chosen):
                raise DataError(f"The split {name!r} has no labelled base in its windows.")
        source = f"{', '.join(self.labels.values())} on {', '.join(self.genome)}"
        return {name: Split(found[name], source) for name in NAMES}

    def _divided(self, records: list[Record], seed: int) -> dict[str, list[Record]]:
        if self.chromosomes:
            listed = {chrom for chroms in self.chromosomes.values() for chrom in chroms}
            here = [r for r in records if r.locus is not None and r.locus.chrom in listed]
            return split_chromosomes(here, self.chromosomes)
        if self.by == "chromosome":
            return split(records, self.shares, by="chromosome", seed=seed)
        from basewise.checks.clusters import clusters

        return split(records, self.shares, by=clusters(records), seed=seed)


@component
class LabelledBases:
    """A table of sequences with the intervals of their bases that have a label.

    Attributes
    ----------
    file : str
        CSV or TSV with a header; see `basewise.data.labelled.read_labelled`.
    label : str
        Name of the label of bases inside the intervals; the others are `background`.
    intervals, split : str
        The columns with the intervals (`a-b;c-d`) and with the split of each row: `train`,
        `dev` or `test`.
    sequence : str or None
        The column with the sequences, where it cannot be found.
    """

    file: str
    label: str
    intervals: str = "intervals"
    split: str = "split"
    sequence: str | None = None

    @property
    def tss(self) -> int | None:
        return None

    def splits(self, root: Path | None, seed: int) -> dict[str, Split]:
        path = (root or Path()) / self.file
        table = read_labelled(
            path,
            label=self.label,
            intervals=self.intervals,
            sequence=self.sequence,
            split=self.split,
        )
        if others := sorted(set(table.splits) ^ set(NAMES)):
            raise DataError(
                f"{path}: the column {self.split!r} must name the splits {', '.join(NAMES)}; "
                f"missing or unknown: {', '.join(map(repr, others))}."
            )
        found: dict[str, list[Record]] = {name: [] for name in NAMES}
        for record, name in zip(table.records, table.splits, strict=True):
            found[name].append(record)
        return {name: Split(found[name], self.file) for name in NAMES}
