"""Data sets that are cut from whole genomes: windows by the class of their genome, and genes beside
stretches of genomes.

Genomes are kept apart by name: a contig is called `genome:contig` in loci and in annotations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PlainValidator, model_validator

from basewise.data import read_report
from basewise.data.features import Annotation, Feature, read_annotation
from basewise.data.genome import Genome
from basewise.data.splits import split
from basewise.errors import ConfigError, DataError, UnknownName
from basewise.registry import component
from basewise.study.datasets import NAMES, Split
from basewise.types import Interval, Record

__all__ = ["GenesAndGenomes", "GenomeFiles", "GenomeWindows", "genome_of"]

_TRIES = 1000


def genome_of(record: Record) -> str:
    """The genome that a record lies on; empty where it has no place."""
    return "" if record.locus is None else record.locus.chrom.partition(":")[0]


@component
class GenomeFiles:
    """A genome of a data set; paths are relative to the data folder that the run is given.

    Attributes
    ----------
    fasta : str
        Plain or gzip.
    annotation : str
        GFF3, GTF or BED of the same contigs; needed where genes are read.
    label : str
        The class of its windows.
    split : {"train", "dev", "test"} or None
        Where all of it goes; divided by blocks if None.
    names : table
        From names of contigs in the annotation to those in the FASTA, where they differ.
    """

    fasta: str
    annotation: str = ""
    label: str = ""
    split: Literal["train", "dev", "test"] | None = None
    names: dict[str, str] = Field(default_factory=dict)

    def open(self, root: Path | None) -> Genome:
        return Genome((root or Path()) / self.fasta)

    def annotated(self, name: str, root: Path | None) -> Annotation:
        """The annotation, its contigs called `name:contig`.

        Raises
        ------
        ConfigError
            If there is none.
        """
        if not self.annotation:
            raise ConfigError(f"[data.genomes.{name}] needs an annotation: a GFF3, GTF or BED.")
        lengths = dict(self.open(root).lengths)
        # Read by the names of the files, so that errors say these.
        found = read_annotation((root or Path()) / self.annotation, lengths, names=self.names)
        return Annotation(
            found.path,
            tuple(replace(each, chrom=f"{name}:{each.chrom}") for each in found.features),
            {f"{name}:{contig}": b for contig, b in lengths.items()},
            frozenset(f"{name}:{contig}" for contig in found.circular),
        )


def _genomes(given: Any) -> dict[str, GenomeFiles]:
    if not isinstance(given, Mapping):
        raise ValueError("is a table with a table for each genome")
    found = {}
    for name, said in given.items():
        if ":" in name:
            raise ValueError(f"{name!r}: the name of a genome has no ':'")
        found[str(name)] = GenomeFiles(**said) if isinstance(said, Mapping) else said
    return found


Genomes = Annotated[dict[str, GenomeFiles], PlainValidator(_genomes)]


@component
class GenomeWindows:
    """Windows of genomes, each with the class of its genome; whole blocks go to one split.

    Neighbouring windows are alike (a gene reaches over both, a region has one composition), so
    windows are not divided one by one. A genome with a `split` of its own is seen nowhere else.
    Windows with an unknown base are left out. Repeats of one sequence in several blocks stay where
    they are; the audit counts them.

    Attributes
    ----------
    genomes : table
        From the name of a genome to its files and class; see `GenomeFiles`.
    width : int
        Bases of a window; they follow each other without overlap.
    block : int
        Windows that begin within as many bases go to one split together.
    shares : table
        Of the blocks of each genome for train, dev and test.
    most : table
        Of train, dev and test, how many windows of each class at most: of every genome of the
        class as many as of the others, as far as it has them.
    """

    genomes: Genomes
    width: Annotated[int, Field(ge=10)] = 1000
    block: Annotated[int, Field(ge=10)] = 50_000
    shares: dict[str, float] = Field(
        default_factory=lambda: {"train": 0.5, "dev": 0.1, "test": 0.4}
    )
    most: dict[str, Annotated[int, Field(ge=1)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_whole(self) -> GenomeWindows:
        if set(self.shares) != set(NAMES):
            raise ValueError(f"shares needs train, dev, test, and has {', '.join(self.shares)}")
        if unknown := sorted(set(self.most) - set(NAMES)):
            raise ValueError(f"most has {unknown[0]!r}; it may have train, dev, test")
        if self.block < self.width:
            raise ValueError(f"block = {self.block} is shorter than a window, {self.width}")
        for name, genome in self.genomes.items():
            if not genome.label:
                raise ValueError(f"genomes.{name} needs a label: the class of its windows")
        return self

    @property
    def tss(self) -> int | None:
        return None

    def splits(self, root: Path | None, seed: int) -> dict[str, Split]:
        found: dict[str, dict[str, list[list[Record]]]] = {name: {} for name in NAMES}
        used: dict[str, set[str]] = {name: set() for name in NAMES}
        for name, genome in self.genomes.items():
            records, blocks = self._windows(name, genome, root)
            if genome.split is not None:
                divided: dict[str, list[Record]] = {genome.split: records}
            else:
                divided = split(records, self.shares, by=blocks, seed=seed)
            for part, own in divided.items():
                found[part].setdefault(genome.label, []).append(own)
                used[part].add(name)
        return {
            name: Split(
                [
                    record
                    for label, of_genomes in found[name].items()
                    for record in _evenly(of_genomes, self.most.get(name), seed)
                ],
                f"windows of {', '.join(g for g in self.genomes if g in used[name])}",
            )
            for name in NAMES
        }

    def _windows(
        self, name: str, genome: GenomeFiles, root: Path | None
    ) -> tuple[list[Record], list[str]]:
        """The windows of a genome in order, and the block of each."""
        opened = genome.open(root)
        records, blocks = [], []
        for contig, b in opened.lengths.items():
            text = opened.fetch(Interval(contig, 0, b))
            for start in range(0, b - self.width + 1, self.width):
                own = text[start : start + self.width]
                if set(own) <= set("ACGT"):
                    at = Interval(f"{name}:{contig}", start, start + self.width)
                    records.append(Record(f"{at.chrom}:{start}-{at.end}", own, genome.label, at))
                    blocks.append(f"{contig}:{start // self.block}")
        if not records:
            raise DataError(f"{genome.fasta} has no window of {self.width} known bases.")
        return records, blocks


def _evenly(genomes: Sequence[list[Record]], most: int | None, seed: int) -> list[Record]:
    """At most so many records, of every genome as many as of the others; in their order."""
    every = [(g, i) for g, own in enumerate(genomes) for i in range(len(own))]
    if most is not None and most < len(every):
        rng = np.random.default_rng([seed, 5])
        turn = [(int(t), g, i) for g, own in enumerate(genomes)
                for i, t in enumerate(rng.permutation(len(own)))]  # fmt: skip
        every = sorted((g, i) for _, g, i in sorted(turn)[:most])
    return [genomes[g][i] for g, i in every]


@component
class GenesAndGenomes:
    """Genes of a family, and stretches of genomes of the same lengths that hold none of them.

    Each split has the genes of other genomes, and its stretches come from genomes of its own.
    Genes that are near copies of each other (see `basewise.checks.clusters`) have to be in one
    split; if they are not, the study is refused.

    Attributes
    ----------
    genes : str
        FASTA; what stands before the first `|` of a record's name is its genome.
    label, other : str
        The classes: of the genes, and of the stretches.
    members : table
        Of train, dev and test: names of genomes, which may hold `*`.
    genomes : table
        From the name of a genome, which `members` has to have, to its files; see `GenomeFiles`.
        A split without one has no stretches and is refused.
    avoid : list of str
        Kinds of annotated features that stretches keep away from.
    per_gene : int
        Stretches for each gene, of its length, on either strand.
    """

    genes: str
    genomes: Genomes
    members: dict[str, list[str]]
    label: str
    other: str = "genomic"
    avoid: tuple[str, ...] = ("rRNA",)
    per_gene: Annotated[int, Field(ge=1)] = 10

    @model_validator(mode="after")
    def _is_whole(self) -> GenesAndGenomes:
        if set(self.members) != set(NAMES):
            raise ValueError(f"members needs train, dev, test, and has {', '.join(self.members)}")
        return self

    @property
    def tss(self) -> int | None:
        return None

    def splits(self, root: Path | None, seed: int) -> dict[str, Split]:
        path = (root or Path()) / self.genes
        found: dict[str, list[Record]] = {name: [] for name in NAMES}
        for record in read_report(path).records:
            home = self._home(record.id.partition("|")[0])
            found[home].append(Record(record.id, record.sequence, self.label))
        _refuse_torn(found)
        places: dict[str, list[_Avoiding]] = {name: [] for name in NAMES}
        for name, genome in self.genomes.items():
            kept = [f for f in genome.annotated(name, root).features if f.kind in self.avoid]
            places[self._home(name)].append(_Avoiding(name, genome.open(root), kept))
        for name in NAMES:
            if not found[name] or not places[name]:
                what = "genes" if places[name] else "genomes"
                raise DataError(f"[data.members] {name} = {self.members[name]} names no {what}.")
            rng = np.random.default_rng([seed, 6, NAMES.index(name)])
            found[name] += [
                self._stretch(i, j, len(gene), places[name], rng)
                for i, gene in enumerate(list(found[name]))
                for j in range(self.per_gene)
            ]
        return {
            name: Split(
                found[name],
                f"{self.genes} and stretches of {', '.join(each.name for each in places[name])}",
            )
            for name in NAMES
        }

    def _home(self, genome: str) -> str:
        """The split of a genome."""
        homes = [
            name
            for name, patterns in self.members.items()
            if any(fnmatchcase(genome, pattern) for pattern in patterns)
        ]
        if not homes:
            every = [pattern for patterns in self.members.values() for pattern in patterns]
            raise UnknownName("genome in [data.members]", genome, every)
        if len(homes) > 1:
            raise ConfigError(f"[data.members] has {genome} in {' and '.join(homes)}.")
        return homes[0]

    def _stretch(
        self, i: int, j: int, b: int, genomes: Sequence[_Avoiding], rng: np.random.Generator
    ) -> Record:
        home = genomes[int(rng.integers(len(genomes)))]
        locus, sequence = home.draw(b, rng)
        return Record(f"{self.other}-{i}-{j}|{locus}", sequence, self.other, locus)


def _refuse_torn(splits: Mapping[str, Sequence[Record]]) -> None:
    """Near copies in two splits would be learned by heart."""
    from basewise.checks.clusters import clusters

    every = [record for own in splits.values() for record in own]
    homes = [name for name, own in splits.items() for _ in own]
    first: dict[str, tuple[str, str]] = {}
    for record, home, cluster in zip(every, homes, clusters(every), strict=True):
        known, id = first.setdefault(cluster, (home, record.id))
        if known != home:
            raise DataError(
                f"{id} of {known} and {record.id} of {home} are near copies, by themselves or by "
                "others between them; put their genomes into one split."
            )


class _Avoiding:
    """A genome from which stretches are drawn that keep away from features."""

    def __init__(self, name: str, genome: Genome, avoid: Iterable[Feature]):
        self.name = name
        self._contigs = list(genome.lengths)
        self._text = [genome.fetch(Interval(c, 0, b)) for c, b in genome.lengths.items()]
        self._bad = []
        for contig, text in zip(self._contigs, self._text, strict=True):
            bad = ~np.isin(np.frombuffer(text.encode(), np.uint8), np.frombuffer(b"ACGT", np.uint8))
            for feature in avoid:
                if feature.chrom == f"{name}:{contig}":
                    for start, end in feature.parts:
                        bad[start:end] = True
            self._bad.append(np.append(0, np.cumsum(bad)))

    def draw(self, b: int, rng: np.random.Generator) -> tuple[Interval, str]:
        """A stretch of `b` bases, every place alike, on either strand."""
        from basewise.sequence.alphabet import reverse_complement

        room = np.array([max(len(text) - b + 1, 0) for text in self._text], float)
        for _ in range(_TRIES if room.any() else 0):
            c = int(rng.choice(len(room), p=room / room.sum()))
            start = int(rng.integers(int(room[c])))
            if self._bad[c][start + b] == self._bad[c][start]:
                turned = bool(rng.integers(2))
                found = self._text[c][start : start + b]
                at = Interval(f"{self.name}:{self._contigs[c]}", start, start + b, "+-"[turned])
                return at, str(reverse_complement(found)) if turned else found
        raise DataError(f"{self.name} has no stretch of {b} bases that holds none to avoid.")
