"""The studies of real genomes, and published lists of genes; skipped where the files are absent."""

from collections import Counter
from pathlib import Path

import pytest

from basewise.biology.region_scores import gene_sets
from basewise.data.features import read_annotation
from basewise.data.gene_lists import read_gene_list, read_operons
from basewise.errors import DataError
from basewise.registry import settings_of
from basewise.study.checked import check
from basewise.study.genomes import genome_of
from basewise.study.study import DATASETS, load_study

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(
    not (DATA / "bacteria").exists(), reason="the shared data are absent"
)


def test_lists_and_operons_as_published():
    """The long list calls its column of names "locus tag", and that of tags "gene"."""
    long = DATA / "sporulation/SWxWWxRS_sporulation_genes.csv"
    core = DATA / "sporulation/galperin_sporulation_genes.tsv"
    lists = {
        "tags": read_gene_list(long),
        "long": read_gene_list(long, "locus tag"),
        "core": read_gene_list(core, alias="alias"),
    }
    operons = read_operons(DATA / "sporulation/subtiwiki_operons-2022-10-12.csv")
    assert [len(names) for names in lists.values()] == [880, 880, 184]
    assert operons["yokI-yokL"] == ["yokI", "yokJ", "yokK", "yokL"]
    assert (len(operons), sum(len(genes) > 1 for genes in operons.values())) == (2274, 1015)
    path = DATA / "bacteria/ensembl/Bacillus_subtilis_best7003.ASM52304v1.46.gff3.gz"
    genes = read_annotation(path).genes()
    _, missing = gene_sets(genes, lists)
    assert [len(names) for names in missing.values()] == [880, 110, 13]
    joined, _ = gene_sets(genes, operons)
    assert sum(len(own) > 1 for own in joined.values()) == 828


def test_16s_genes_and_stretches_do_not_leak():
    study = load_study(ROOT / "studies" / "rrna_16s.toml")
    splits = study.data.splits(DATA, 7)
    counts = {name: Counter(r.label for r in own.records) for name, own in splits.items()}
    assert {name: own["16S rRNA"] for name, own in counts.items()} == {
        "train": 44, "dev": 8, "test": 11,
    }  # fmt: skip
    assert all(own["genomic"] == 10 * own["16S rRNA"] for own in counts.values())
    homes = [{genome_of(r) for r in own.records} - {""} for own in splits.values()]
    assert not any(a & b for i, a in enumerate(homes) for b in homes[:i])
    settings = settings_of(study.data) | {"type": "genes"}
    settings["members"] = {
        "train": ["Chlamydia*", "Pseudomonas*"],
        "dev": ["Caulobacter*", "Staphylococcus*", "Mycoplasma*", "Bacillus*"],
        "test": ["Escherichia*", "GCF_000005845"],
    }
    with pytest.raises(DataError, match=r"Pseudomonas.* of train and Escherichia.* near copies"):
        DATASETS.build(settings).splits(DATA, 7)


def test_windows_of_the_spore_former():
    study = load_study(ROOT / "studies" / "sporulation.toml")
    splits = study.data.splits(DATA, 7)
    records = {name: own.records for name, own in splits.items()}
    check(study, records, DATA)
    assert [len(own) for own in records.values()] == [4000, 800, 3300]
    assert "Streptococcus_pneumoniae" not in {genome_of(r) for r in records["train"]}
    own = Counter(genome_of(r) for r in records["test"])
    assert (own["Bacillus_subtilis"], own["Streptococcus_pneumoniae"]) == (1600, 294)
