"""Annotations as Prokka, NCBI, Ensembl and others write them."""

import re

import pytest

from basewise.data.browser import feature_rows, write_bed
from basewise.data.features import Feature, noncoding, read_annotation
from basewise.errors import DataError

PROKKA = """\
##gff-version 3
##sequence-region gnl|X|c1 1 40
##sequence-region gnl|X|c2 1 30
gnl|X|c1\tProdigal:2.6\tCDS\t4\t12\t.\t+\t0\tID=AB_1;Name=dnaA_1;product=a%3B protein
gnl|X|c2\tprokka\ttRNA\t1\t30\t.\t-\t.\tID=AB_2;locus_tag=AB_2
##FASTA
>gnl|X|c1 the first
ACGTACGTACGTACGTACGT
acgtacgtacgtacgtacgt
>gnl|X|c2
ACGTACGTACGTACGTACGTACGTACGTAC
"""
NCBI = """\
##gff-version 3
##sequence-region NC_1.2 1 50
NC_1.2\tRefSeq\tregion\t1\t50\t.\t+\t.\tID=NC_1.2:1..50;Is_circular=true;gbkey=Src
NC_1.2\tRefSeq\tgene\t44\t56\t.\t-\t.\tID=gene-x;Name=xyzA;gene=xyzA;locus_tag=b1
NC_1.2\tRefSeq\tCDS\t44\t56\t.\t-\t0\tID=cds-x;Parent=gene-x;Name=NP_1;gene=xyzA
NC_1.2\tRefSeq\tgene\t47\t3\t.\t+\t.\tID=gene-y
NC_1.2\tRefSeq\tpseudogene\t20\t29\t.\t?\t.\tID=gene-z
"""
GTF = """\
c\tens\tgene\t1\t90\t.\t+\t.\tgene_id "G1"; gene_name "abc";
c\tens\ttranscript\t1\t90\t.\t+\t.\tgene_id "G1"; transcript_id "T1";
c\tens\texon\t61\t90\t.\t+\t.\tgene_id "G1"; transcript_id "T1";
c\tens\texon\t1\t30\t.\t+\t.\tgene_id "G1"; transcript_id "T1";
"""


@pytest.fixture
def read(tmp_path):
    def from_text(text, lengths=None, **how):
        (tmp_path / "a.gff").write_text(text)
        return read_annotation(tmp_path / "a.gff", lengths, **how)

    return from_text


def test_prokka(read):
    found = read(PROKKA)
    assert found.sequences["gnl|X|c1"] == "ACGT" * 10
    assert found.lengths == {"gnl|X|c1": 40, "gnl|X|c2": 30}
    first, second = found.genes()
    assert (first.id, first.kind, first.chrom) == ("AB_1", "CDS", "gnl|X|c1")
    assert (first.parts, first.strand, len(first)) == (((3, 12),), "+", 9)
    assert (first.name, first.attributes["product"]) == ("dnaA_1", "a; protein")
    assert (second.name, second.parts, second.strand) == ("", ((0, 30),), "-")


def test_ncbi_across_the_origin(read):
    found = read(NCBI)
    assert found.circular == {"NC_1.2"}
    x, y, z = found.genes()
    assert x.parts == ((43, 50), (0, 6))
    assert (x.start, x.end, len(x), x.name) == (43, 6, 13, "xyzA")
    assert y.parts == ((46, 50), (0, 3))
    assert (z.kind, z.strand, z.parts) == ("pseudogene", ".", ((19, 29),))
    (cds,) = found.of_kind("CDS")
    assert cds.parents == ("gene-x",)


def test_gtf_and_its_spliced_features(read):
    found = read(GTF)
    (gene,) = found.genes()
    assert (gene.id, gene.name) == ("G1", "abc")
    (exons,) = found.of_kind("exon")
    assert (exons.id, exons.parts, len(exons)) == ("exon:T1", ((0, 30), (60, 90)), 60)


def test_bed_of_three_six_and_twelve_columns(read):
    assert read("c\t3\t9\n").features[0].parts == ((3, 9),)
    found = read("track name=x\nc\t3\t9\tn\t0\t-\nc\t5\t9\t.\t0\t+\n").features
    assert [(f.name, f.strand, f.kind) for f in found] == [
        ("n", "-", "region"),
        ("", "+", "region"),
    ]
    (found,) = read("c\t10\t50\tn\t0\t+\t10\t50\t0\t2\t5,8,\t0,32,\n").features
    assert found.parts == ((10, 15), (42, 50))


LINE = "c\tx\tgene\t{}\t{}\t.\t+\t.\tID=g\n"


@pytest.mark.parametrize(
    "text, lengths, said",
    [
        ("", None, "a.gff holds no features."),
        ("##gff-version 3\n##FASTA\n>c\nACGT\n", None, "a.gff holds no features."),
        ("c\tx\tgene\t1\t9\n", None, "line 1: 5 fields between tabs; GFF3 and GTF have 9."),
        (
            LINE.format("x", 9),
            None,
            "line 1: start 'x', end '9'; they are whole numbers from 1 on.",
        ),
        (LINE.format(0, 9), None, "line 1: start '0', end '9'; they are whole numbers from 1 on."),
        (
            LINE.format(20, 9),
            None,
            "g (c:20-9) has a length of -10 bases; the end must not be before the start. Only on a "
            "contig with Is_circular=true may it be, across the origin.",
        ),
        (
            LINE.format(5, 31),
            {"c": 30},
            "g (c:5-31) is beyond the end of c, which has 30 bases; take the annotation of this "
            "very assembly, or mark the contig Is_circular=true if the feature crosses the origin.",
        ),
        ("c\tx\tgene\t1\t9\t.\t*\t.\tID=g\n", None, "line 1: strand '*'; it is one of + - . ?"),
        (
            PROKKA,
            {"c1.1": 40, "c2.1": 31},
            "names contigs that the genome has not: 'gnl|X|c1', 'gnl|X|c2'; the genome has 'c1.1', "
            "'c2.1'; 'c1.1' seems to be meant: names={'gnl|X|c1': 'c1.1'}.",
        ),
        (
            PROKKA,
            {"s1": 41, "s2": 40},
            "'s2' seems to be meant: names={'gnl|X|c1': 's2'}.",
        ),
        (PROKKA, {"s1": 7}, "the genome has 's1'; give the genome it was made on, or names={...}."),
    ],
)
def test_what_is_wrong_is_one_line(read, text, lengths, said):
    with pytest.raises(DataError, match=re.escape(said)) as error:
        read(text, lengths)
    assert "\n" not in str(error.value)


def test_a_kind_that_is_not_there_is_said(read):
    with pytest.raises(DataError, match=r"has no tRN; it has CDS, tRNA\. Did you mean 'tRNA'"):
        read(PROKKA).of_kind("tRN")


def test_contigs_are_renamed(read):
    found = read(PROKKA, {"a": 40, "b": 30}, names={"gnl|X|c1": "a", "gnl|X|c2": "b"})
    assert [feature.chrom for feature in found.features] == ["a", "b"]
    assert set(found.sequences) == {"a", "b"}


def test_what_lies_between_genes():
    genes = [
        Feature("p", "gene", "c", ((10, 20),), "+"),
        Feature("m", "gene", "c", ((40, 50),), "-"),
    ]
    found = noncoding(genes, {"c": 70, "d": 4}, upstream=6, downstream=3)
    assert [(f.kind, f.chrom, *f.parts[0]) for f in found] == [
        ("intergenic", "c", 0, 4),
        ("promoter_proximal", "c", 4, 10),
        ("terminator", "c", 20, 23),
        ("intergenic", "c", 23, 37),
        ("terminator", "c", 37, 40),
        ("promoter_proximal", "c", 50, 56),
        ("intergenic", "c", 56, 70),
        ("intergenic", "d", 0, 4),
    ]


def test_scored_genes_as_bed(tmp_path):
    genes = [
        Feature("g", "gene", "c", ((44, 50), (0, 6)), "-", "xyzA"),
        Feature("h", "gene", "c", ((10, 12),), "+"),
        Feature("i", "gene", "c", ((20, 22),), "+"),
    ]
    write_bed(tmp_path / "g.bed", feature_rows(genes, [3.0, -1.0, float("nan")]))
    assert (tmp_path / "g.bed").read_text().splitlines() == [
        "c\t44\t50\txyzA\t1000\t-", "c\t0\t6\txyzA\t1000\t-", "c\t10\t12\th\t0\t+",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "how", "said"),
    [
        (None, {}, "path is of NoneType; give the name of a file"),
        ("a.gff", {"lengths": ["c1"]}, "lengths is of list; give a mapping of contigs to their"),
        ("a.gff", {"names": "c1"}, "names is of str; give a mapping of contigs of the file"),
    ],
)
def test_arguments_of_another_kind_are_refused(given, how, said):
    with pytest.raises(DataError, match=said):
        read_annotation(given, **how)
