"""Annotations of genomes: GFF3 (as Prokka, NCBI and Ensembl write it), GTF and BED.

What files write 1-based and closed becomes 0-based and half-open here. A feature that reaches
across the origin of a circular contig has two parts, and one that is written on several lines with
one ID, as the coding stretches of a spliced gene are, has as many.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple
from urllib.parse import unquote

from basewise.data.files import decode_text, read_bytes
from basewise.errors import DataError, nearest

__all__ = ["Annotation", "Feature", "noncoding", "read_annotation"]

Part = tuple[int, int]
_CONTIGS = {"region", "chromosome", "contig", "supercontig", "scaffold", "plasmid", "source"}
_PRODUCTS = {"CDS", "tRNA", "rRNA", "tmRNA", "ncRNA", "misc_RNA"}
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Feature:
    """Something an annotation names.

    Attributes
    ----------
    id : str
        Unique within an annotation; made from kind and place where the file has none.
    kind : str
        As written: `gene`, `CDS`, `tRNA`, ...; `region` in a BED file.
    chrom : str
    parts : tuple of (start, end)
        Disjoint, 0-based, half-open, within the contig; in the order of the plus strand, which
        across the origin of a circular contig is not that of the numbers.
    strand : str
        `+`, `-`, or `.` where there is none.
    name : str
        Of the gene; empty where the file gives none.
    parents : tuple of str
        Ids of what it belongs to.
    attributes : mapping of str to str
        Everything else that the file says.
    """

    id: str
    kind: str
    chrom: str
    parts: tuple[Part, ...]
    strand: str = "."
    name: str = ""
    parents: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return sum(end - start for start, end in self.parts)

    @property
    def start(self) -> int:
        """First base on the plus strand."""
        return self.parts[0][0]

    @property
    def end(self) -> int:
        """One past the last base on the plus strand; below `start` across the origin."""
        return self.parts[-1][1]


@dataclass(frozen=True)
class Annotation:
    """What a file says of a genome.

    Attributes
    ----------
    path : Path
    features : tuple of Feature
        In the order of the file.
    lengths : mapping of str to int
        Bases of the contigs, as far as known from the genome, embedded FASTA or the file's lines.
    circular : frozenset of str
        Contigs said to be circular.
    sequences : mapping of str to str
        Embedded FASTA, upper case; empty where there is none.
    """

    path: Path
    features: tuple[Feature, ...]
    lengths: Mapping[str, int]
    circular: frozenset[str] = frozenset()
    sequences: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def of_kind(self, *kinds: str) -> list[Feature]:
        """The features of some kinds, in order.

        Raises
        ------
        DataError
            If there are none; the kinds there are are named.
        """
        found = [feature for feature in self.features if feature.kind in kinds]
        if not found:
            known = sorted({feature.kind for feature in self.features})
            raise DataError(
                f"{self.path} has no {' or '.join(kinds)}; it has {', '.join(known)}."
                f"{nearest(kinds[0] if kinds else '', known)}"
            )
        return found

    def genes(self) -> list[Feature]:
        """The genes: features called gene, or, where a file has none (Prokka), what they make.

        Raises
        ------
        DataError
            If there is neither.
        """
        kinds = {feature.kind for feature in self.features}
        named = {kind for kind in kinds if kind in ("gene", "pseudogene") or kind.endswith("_gene")}
        return self.of_kind(*sorted(named or kinds & _PRODUCTS or {"gene", "CDS"}))


class _Line(NamedTuple):
    number: int
    chrom: str
    kind: str
    start: int
    end: int
    strand: str
    attributes: dict[str, str]


def read_annotation(
    path: str | Path,
    lengths: Mapping[str, int] | None = None,
    *,
    names: Mapping[str, str] = MappingProxyType({}),
) -> Annotation:
    """Read GFF3, GTF or BED, told by content; plain or gzip.

    Parameters
    ----------
    lengths : mapping, optional
        Bases of the contigs of the genome the annotation is of, such as `Genome(path).lengths`.
        Then every contig of the file has to be one of them.
    names : mapping
        From names of contigs in the file to those of the genome.

    Raises
    ------
    DataError
        With file and line: a line of another width, a place that is no number or before the first
        base, an end before its start (but across the origin of a circular contig), a feature
        beyond its contig; contigs that are not the genome's, with the match if there is one; a
        file without features; an argument that is not of its kind.
    """
    for what, given, kinds, wanted in (
        ("path", path, (str, Path), "the name of a file"),
        ("lengths", lengths, (Mapping, type(None)), "a mapping of contigs to their bases"),
        ("names", names, (Mapping,), "a mapping of contigs of the file to those of the genome"),
    ):
        if not isinstance(given, kinds):
            raise DataError(f"{what} is of {type(given).__name__}; give {wanted}.")
    path = Path(path)
    text = decode_text(path, read_bytes(path))
    table, fasta = _split(text)
    sequences = {names.get(name, name): found for name, found in _fasta(fasta)}
    rows = list(_rows(table))
    if not rows:
        raise DataError(f"{path} holds no features.")
    if _is_gff(rows[0][1]):
        lines = [_gff_line(path, number, fields) for number, fields in rows]
        features = _joined(lines)
    else:
        features = [_bed_feature(path, number, fields) for number, fields in rows]
        lines = []
    features = [replace(each, chrom=names.get(each.chrom, each.chrom)) for each in features]
    found = _regions(table, names) | {
        names.get(line.chrom, line.chrom): line.end
        for line in lines
        if line.kind in _CONTIGS and line.start == 0
    }
    found |= {name: len(sequence) for name, sequence in sequences.items()}
    circular = frozenset(
        names.get(line.chrom, line.chrom)
        for line in lines
        if line.attributes.get("Is_circular", "").lower() == "true"
    )
    if lengths is not None:
        _check_contigs(path, features, found, lengths)
        found = dict(lengths)
    features = [_placed(path, each, found.get(each.chrom), circular) for each in features]
    return Annotation(path, tuple(features), found, circular, sequences)


def noncoding(
    genes: Sequence[Feature],
    lengths: Mapping[str, int],
    *,
    upstream: int = 200,
    downstream: int = 100,
) -> list[Feature]:
    """What lies between genes, by kind.

    A base in no gene is `promoter_proximal` where a gene begins within `upstream` bases of it (on
    the gene's strand), else `terminator` where one ends within `downstream` bases, else
    `intergenic`. Contigs are read as linear; a gene without a strand has neither.

    Returns
    -------
    list of Feature
        Disjoint stretches that fill what no gene covers; by contig, in order.
    """
    import numpy as np

    kinds = ("intergenic", "terminator", "promoter_proximal")
    found = []
    for chrom, length in lengths.items():
        own = [gene for gene in genes if gene.chrom == chrom]
        code = np.zeros(length, np.int8)
        for value, size in ((1, downstream), (2, upstream)):
            for gene in own:
                if gene.strand == ("+" if value == 2 else "-"):
                    code[max(gene.start - size, 0) : gene.start] = value
                elif gene.strand != ".":
                    code[gene.end : gene.end + size] = np.maximum(
                        code[gene.end : gene.end + size], value
                    )
        for gene in own:
            for start, end in gene.parts:
                code[start:end] = -1
        first = np.flatnonzero(np.append(True, code[1:] != code[:-1])[:length]).tolist()
        for start, end in zip(first, [*first[1:], length], strict=True):
            if code[start] >= 0:
                kind = kinds[code[start]]
                found.append(Feature(f"{kind}:{chrom}:{start}-{end}", kind, chrom, ((start, end),)))
    return found


# -------------------------------------------------------------------- lines


def _split(text: str) -> tuple[list[str], list[str]]:
    """The lines of the table and those of the FASTA at the end of a GFF3."""
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if line.startswith("##FASTA"):
            return lines[:i], lines[i + 1 :]
        if line.startswith(">"):
            return lines[:i], lines[i:]
    return lines, []


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, 1):
        if line.strip() and not re.match(r"#|(track|browser)\b", line):
            yield number, line.rstrip("\r\n").split("\t")


def _is_gff(fields: Sequence[str]) -> bool:
    """Whether a line is of GFF; the second field of BED is a number, and the fifth a score."""
    return len(fields) != 3 and not (len(fields) > 2 and fields[1].strip().isdecimal())


def _fasta(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    for entry in "\n".join(lines).split(">")[1:]:
        header, _, letters = entry.partition("\n")
        yield header.split(maxsplit=1)[0], letters.replace("\n", "").upper()


def _regions(lines: Iterable[str], names: Mapping[str, str]) -> dict[str, int]:
    """Contigs by the lines `##sequence-region name 1 length`."""
    found = {}
    for line in lines:
        if line.startswith("##sequence-region"):
            said = line.split()
            if len(said) == 4 and said[2] == "1" and said[3].isdecimal():
                found[names.get(said[1], said[1])] = int(said[3])
    return found


def _gff_line(path: Path, number: int, fields: Sequence[str]) -> _Line:
    at = f"{path}, line {number}"
    if len(fields) != 9:
        raise DataError(f"{at}: {len(fields)} fields between tabs; GFF3 and GTF have 9.")
    chrom, _, kind, start, end, _, strand, _, said = (text.strip() for text in fields)
    if not (start.isdecimal() and end.isdecimal() and int(start) >= 1):
        raise DataError(f"{at}: start {start!r}, end {end!r}; they are whole numbers from 1 on.")
    if strand not in ("+", "-", ".", "?"):
        raise DataError(f"{at}: strand {strand!r}; it is one of + - . ?")
    attributes = _attributes(said)
    return _Line(
        number, unquote(chrom), kind, int(start) - 1, int(end), strand.replace("?", "."), attributes
    )


def _attributes(text: str) -> dict[str, str]:
    """The ninth column: `key=value;` in GFF3, `key "value";` in GTF."""
    if re.match(r'\s*\w+ "', text):
        found: dict[str, str] = {}
        for key, value in re.findall(r'(\w+) "([^"]*)"', text):
            found.setdefault(key, value)
        return found
    pairs = (pair.partition("=") for pair in text.split(";"))
    return {key.strip(): unquote(value.strip()) for key, equals, value in pairs if equals}


def _joined(lines: Sequence[_Line]) -> list[Feature]:
    """Features of lines; those with one ID, kind and contig are one feature."""
    groups: dict[tuple[str, str, str], list[_Line]] = {}
    for line in lines:
        said = line.attributes
        own = said.get("ID") or _of_gtf(line) or ""
        own = own or f"{line.kind}:{line.chrom}:{line.start}-{line.end}({line.strand})"
        groups.setdefault((own, line.kind, line.chrom), []).append(line)
    found: list[Feature] = []
    seen: dict[str, int] = {}
    for (own, kind, chrom), group in groups.items():
        said = group[0].attributes
        seen[own] = seen.get(own, 0) + 1  # ids of different kinds may be the same in a bad file
        parts = tuple(sorted((line.start, line.end) for line in group))
        parents = said.get("Parent", "")
        named = ("Name", "gene", "gene_name")
        name = next((said[key] for key in named if said.get(key)), "")
        found.append(
            Feature(
                own if seen[own] == 1 else f"{own}/{kind}/{seen[own]}",
                kind,
                chrom,
                parts,
                group[0].strand,
                name,
                tuple(parents.split(",")) if parents else (),
                said,
            )
        )
    return found


def _of_gtf(line: _Line) -> str | None:
    """The id of a line of GTF, which names what it belongs to."""
    said = line.attributes
    if line.kind == "gene":
        return said.get("gene_id")
    if line.kind == "transcript":
        return said.get("transcript_id")
    if line.kind in ("CDS", "exon") and "transcript_id" in said:
        return f"{line.kind}:{said['transcript_id']}"
    return None


def _bed_feature(path: Path, number: int, fields: Sequence[str]) -> Feature:
    at = f"{path}, line {number}"
    if len(fields) < 3:
        raise DataError(f"{at}: {len(fields)} fields between tabs; BED has at least 3, GFF 9.")
    chrom, start, end = (text.strip() for text in fields[:3])
    if not (start.isdecimal() and end.isdecimal()):
        raise DataError(f"{at}: start {start!r}, end {end!r}; they are whole numbers from 0 on.")
    name = fields[3].strip() if len(fields) > 3 else ""
    strand = fields[5].strip() if len(fields) > 5 else "."
    first = int(start)
    parts: tuple[Part, ...] = ((first, int(end)),)
    if len(fields) >= 12:
        sizes, starts = ([int(each) for each in fields[i].strip(", ").split(",")] for i in (10, 11))
        parts = tuple((first + a, first + a + b) for a, b in zip(starts, sizes, strict=False))
    if strand not in ("+", "-", "."):
        raise DataError(f"{at}: strand {strand!r}; it is one of + - .")
    own = f"region:{chrom}:{start}-{end}({strand}):{number}"
    return Feature(own, "region", chrom, parts, strand, "" if name == "." else name)


# -------------------------------------------------------------------- places


def _placed(path: Path, feature: Feature, length: int | None, circular: frozenset[str]) -> Feature:
    """A feature whose parts lie within its contig, cut at the origin where it crosses that."""
    around = feature.chrom in circular and length is not None
    parts: list[Part] = []
    for start, end in feature.parts:
        place = f"{path}: {feature.id} ({feature.chrom}:{start + 1:,}-{end:,})"
        if end <= start and around and length is not None:  # written as start > end
            end += length
        if end <= start:
            raise DataError(
                f"{place} has a length of {end - start:,} bases; the end must not be before the "
                "start. Only on a contig with Is_circular=true may it be, across the origin."
            )
        if length is not None and end > length:
            if not around or start >= length or end - start > length:
                raise DataError(
                    f"{place} is beyond the end of {feature.chrom}, which has {length:,} bases; "
                    "take the annotation of this very assembly, or mark the contig "
                    "Is_circular=true if the feature crosses the origin."
                )
            parts += [(start, length), (0, end - length)]
        else:
            parts.append((start, end))
    if tuple(parts) == feature.parts and len(parts) == 1:
        return feature
    return replace(feature, parts=tuple(_merged(parts)))


def _merged(parts: Sequence[Part]) -> list[Part]:
    """Parts without overlap, in their order."""
    found: list[Part] = []
    for start, end in parts:
        if found and found[-1][0] <= start < found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def _check_contigs(
    path: Path,
    features: Iterable[Feature],
    said: Mapping[str, int],
    lengths: Mapping[str, int],
) -> None:
    """Refuse contigs that the genome does not have; suggest which ones are meant."""
    foreign = list(dict.fromkeys(f.chrom for f in features if f.chrom not in lengths))
    if not foreign:
        return
    name = foreign[0]
    meant = _meant(name, said.get(name), lengths)
    advice = (
        f"{meant!r} seems to be meant: names={{{name!r}: {meant!r}}}"
        if meant
        else "give the genome it was made on, or names={...}"
    )
    here, there = _some(foreign), _some(lengths)
    raise DataError(
        f"{path} names contigs that the genome has not: {here}; the genome has {there}; {advice}."
    )


def _meant(name: str, length: int | None, lengths: Mapping[str, int]) -> str | None:
    """The contig that is spelt alike, or the only one of that length."""

    def bare(text: str) -> set[Any]:
        words = {text, text.split(".")[0], *text.strip("|").split("|")}
        words |= {word.split(".")[0] for word in words}
        return {word.lower().removeprefix("chr") for word in words} - {""}

    own = bare(name)
    for other in lengths:
        if {other.lower().removeprefix("chr"), other.lower().split(".")[0]} & own:
            return other
    same = [other for other, size in lengths.items() if size == length]
    return same[0] if len(same) == 1 else None


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(map(repr, listed[:_SHOWN])) + (", ..." if len(listed) > _SHOWN else "")
