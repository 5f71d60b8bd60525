"""Annotations and gene lists as published; skipped where the files are absent."""

import csv
from pathlib import Path

import numpy as np
import pytest

from basewise.biology.region_scores import gene_sets, region_scores, set_enrichment
from basewise.data.features import noncoding, read_annotation
from basewise.data.genome import Genome
from basewise.data.presence import read_presence
from basewise.errors import DataError
from basewise.sequence.alphabet import encode
from basewise.types import Interval

DATA = Path(__file__).parents[3] / "shared" / "data"
BACTERIA = DATA / "bacteria"
pytestmark = pytest.mark.skipif(not BACTERIA.exists(), reason="the shared data are absent")


@pytest.fixture(scope="module")
def ensembl():
    return read_annotation(BACTERIA / "ensembl/Bacillus_subtilis_best7003.ASM52304v1.46.gff3.gz")


def test_ensembl_and_prokka_name_the_same_genome(ensembl):
    prokka = read_annotation(BACTERIA / "prokka_bacillus/Prokka_Bacillus.derived_from_tbl.gff.gz")
    assert ensembl.circular == {"Chromosome"}
    assert (len(ensembl.genes()), len(prokka.genes())) == (4133, 4109)
    assert len(prokka.sequences["Chromosome"]) == ensembl.lengths["Chromosome"] == 4_043_042
    both = {g.parts[0] for g in ensembl.genes()} & {g.parts[0] for g in prokka.genes()}
    assert len(both) == 3686


def test_ids_with_bars_that_the_genome_writes_otherwise():
    path = BACTERIA / "pyseer_spneumoniae/6952_7_3.gff.gz"
    found = read_annotation(path)
    assert (len(found.features), len(found.sequences)) == (1984, 48)
    lengths = Genome(BACTERIA / "pyseer_spneumoniae/6952_7_3.fa.gz").lengths
    said = r"'ERS043968\|SC\|contig000001'.*; 'ERS043968.6952_7_3.1' seems to be meant"
    with pytest.raises(DataError, match=said):
        read_annotation(path, lengths)
    names = dict(zip(found.sequences, lengths, strict=True))
    again = read_annotation(path, lengths, names=names)
    assert again.features[0].chrom == "ERS043968.6952_7_3.1"


def test_sporulation_genes_join_by_name_and_composition_is_found(ensembl):
    """G+C as the track: genes as a whole differ from what lies between them, as they do."""
    genes = ensembl.genes()
    with open(DATA / "sporulation/galperin_sporulation_genes.tsv", encoding="utf-8") as file:
        names = [row["gene"] for row in csv.DictReader(file, delimiter="\t")]
    sets, missing = gene_sets(genes, {"sporulation": names})
    assert (len(names), len(sets["sporulation"]), len(missing["sporulation"])) == (184, 168, 25)
    fasta = BACTERIA / "ensembl/Bacillus_subtilis_best7003.ASM52304v1.dna.toplevel.fa.gz"
    text = Genome(fasta).fetch(Interval("Chromosome", 0, ensembl.lengths["Chromosome"]))
    track = {"Chromosome": np.isin(encode(text), (1, 2)).astype(float)}
    between = noncoding(genes, ensembl.lengths)
    kinds = region_scores(track, [*genes, *between], draws=100).kinds
    means = kinds[kinds.measure == "mean"].set_index("kind")
    assert means.loc["gene"].effect > 5 > -5 > means.loc["promoter_proximal"].effect
    found = set_enrichment(track, genes, sets, draws=200)
    assert (found.genes.tolist(), found.n_null.tolist()) == ([168], [200])


def test_a_presence_table_as_published():
    found = read_presence(BACTERIA / "pyseer_spneumoniae/presence_absence.Rtab.gz")
    assert found.present.shape == (1837, 1499)
    assert (found.genes[0], found.samples[0]) == ("COG_1", "sample_1")
