"""A genome in windows is the genome read whole, for a network that sees less than they overlap."""

import numpy as np
import pytest
import torch

import basewise as bw
from basewise.data.genome import Genome
from basewise.data.tiles import Tiles
from basewise.errors import CapabilityError, DataError, UnknownName
from basewise.models import annotating
from basewise.models.annotating import annotate, contigs_of, sizes_of, tiles_for
from basewise.models.base_cnn import BaseCnn, BaseCnnConfig
from basewise.models.cnn import CnnConfig, CnnForSequenceClassification
from basewise.tokenize.kmer import Kmer
from basewise.tokenize.nucleotide import Nucleotide
from basewise.types import Interval

REACH = 4 + 2 * (1 + 2)  # bases to either side: a stem of 9, kernels of 5 at dilations 1 and 2


def network(**settings):
    torch.manual_seed(3)
    return BaseCnn(BaseCnnConfig(channels=6, dilations=[1, 2], num_labels=2, hidden=5, **settings))


def labelling(**settings):
    return bw.Model(network(**settings), Nucleotide(), ("background", "box"), "boxes")


@pytest.fixture(scope="module")
def genome(tmp_path_factory):
    rng = np.random.default_rng(0)
    text = ["".join(rng.choice(list("ACGTacgt"), n)) for n in (331, 17, 90)]
    text[0] = text[0][:120] + "N" * 70 + text[0][190:]
    path = tmp_path_factory.mktemp("genome") / "g.fa"
    names = ("chr2:1001-1331", "chr2", "chr1")  # the first is a piece of a chromosome
    path.write_text("".join(f">{n}\n{s}\n" for n, s in zip(names, text, strict=True)))
    return Genome(path)


def whole_contigs(model, genome):
    """`predict_bases` of every contig at once, the referee."""
    found = {}
    for name, length in genome.lengths.items():
        text = genome.fetch(Interval(name, 0, length))
        values = model.predict_bases([bw.Record(name, text)])[0][:, 1]
        values[[letter == "N" for letter in text]] = np.nan
        found[name] = values
    return found


@pytest.mark.parametrize("both_strands", [True, False])
def test_windows_give_what_the_whole_contig_gives(genome, tmp_path, both_strands, monkeypatch):
    monkeypatch.setattr(annotating, "PART", 100)  # several parts
    model = labelling(both_strands=both_strands)
    tiles = Tiles(width=50, overlap=2 * REACH)
    pieces = list(annotate(model, genome, "box", tmp_path, tiles=tiles, both_strands=False))
    expected = whole_contigs(model, genome)
    for name, chrom, offset in (("chr1", "chr1", 0), ("chr2", "chr2", 0),
                                ("chr2:1001-1331", "chr2", 1000)):  # fmt: skip
        own = [p for p in pieces if p.chrom == chrom and (p.start >= 1000) == (offset == 1000)]
        assert [p.start for p in own] == (
            offset + np.cumsum([0, *(len(p.values) for p in own[:-1])])
        ).tolist()
        found = np.concatenate([p.values for p in own])
        np.testing.assert_allclose(found, expected[name], atol=1e-6)
    assert len(list(tmp_path.iterdir())) > 2


def test_windows_without_enough_overlap_differ(genome, tmp_path):
    """So the test above can fail."""
    model = labelling(both_strands=False)
    pieces = annotate(model, genome, "box", tmp_path, tiles=Tiles(width=50, overlap=4))
    found = np.concatenate([p.values for p in pieces if p.chrom == "chr1"])
    expected = whole_contigs(model, genome)["chr1"]
    assert np.abs(found - expected).max() > 1e-4


def test_both_strands_are_the_mean_of_the_genome_and_its_other_strand(genome, tmp_path):
    model = labelling(both_strands=False)
    tiles = Tiles(width=50, overlap=2 * REACH)
    found = [p for p in annotate(model, genome, "box", tmp_path, tiles=tiles) if p.chrom == "chr1"]
    text = genome.fetch(Interval("chr1", 0, 90))
    turned = genome.fetch(Interval("chr1", 0, 90, "-"))
    one, other = model.predict_bases([bw.Record("+", text), bw.Record("-", turned)])
    np.testing.assert_allclose(found[0].values, (one[:, 1] + other[::-1, 1]) / 2, atol=1e-6)


def test_what_lies_there_is_not_predicted_again_and_what_is_broken_is(
    genome, tmp_path, monkeypatch
):
    monkeypatch.setattr(annotating, "PART", 100)
    model, tiles = labelling(), Tiles(width=50, overlap=20)
    first = list(annotate(model, genome, "box", tmp_path, tiles=tiles))
    parts = sorted(tmp_path.iterdir())
    before = {path: path.stat().st_mtime_ns for path in parts}
    parts[1].write_bytes(parts[1].read_bytes()[:-3])  # as if the machine had stopped
    parts[2].unlink()
    seen = []
    again = list(
        annotate(model, genome, "box", tmp_path, tiles=tiles, progress=lambda *n: seen.append(n))
    )
    for one, other in zip(first, again, strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_array_equal(one.values, other.values)
    made = [path for path in parts if path.stat().st_mtime_ns != before[path]]
    assert made == parts[1:3]
    assert seen[-1][0] == seen[-1][2] == 438
    assert 0 < seen[-1][1] < 438


def test_windows_of_unknown_bases_alone_are_not_evaluated(tmp_path):
    (tmp_path / "n.fa").write_text(f">n\n{'N' * 400}ACGTA\n")
    model, asked = labelling(), []
    predict = bw.Model.predict_bases

    class Counting(bw.Model):
        def predict_bases(self, records):
            asked.extend(records)
            return predict(self, records)

    counting = Counting(model.network, model.tokenizer, model.labels)
    tiles = Tiles(width=50, overlap=20)
    (found,) = annotate(counting, Genome(tmp_path / "n.fa"), "box", tmp_path / "p", tiles=tiles)
    assert len(asked) == 1
    assert np.isnan(found.values[:400]).all()
    assert not np.isnan(found.values[400:]).any()


def test_tokens_of_several_bases_come_back_to_bases(genome, tmp_path):
    """Overlapping 3-mers, each base the mean over those that cover it, windows of any width."""
    from transformers import BertConfig, BertForTokenClassification

    tokenizer = Kmer(k=3)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.vocabulary_size, hidden_size=8, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=9, max_position_embeddings=40, num_labels=2,
    )  # fmt: skip
    model = bw.Model(BertForTokenClassification(config), tokenizer, ("background", "box"))
    tiles = tiles_for(model)
    assert tiles == Tiles(width=38, overlap=9)
    found = list(annotate(model, genome, "box", tmp_path, both_strands=False))
    record = bw.Record("a", genome.fetch(Interval("chr1", 0, 38)))
    middle = tiles.cut(90)[0, 3]
    np.testing.assert_allclose(
        found[0].values[:middle], model.predict_bases([record])[0][:middle, 1], atol=1e-6
    )


def test_contigs_are_in_the_order_of_a_bigwig(genome):
    assert [contig[:3] for contig in contigs_of(genome)] == [
        ("chr1", "chr1", 0), ("chr2", "chr2", 0), ("chr2:1001-1331", "chr2", 1000),
    ]  # fmt: skip
    assert sizes_of(contigs_of(genome)) == {"chr1": 90, "chr2": 1331}


def test_what_cannot_be_annotated_is_said(genome, tmp_path):
    with pytest.raises(UnknownName, match="No label of this model named 'bx'"):
        list(annotate(labelling(), genome, "bx", tmp_path))
    whole = bw.Model(
        CnnForSequenceClassification(CnnConfig(channels=4, dilations=[1], num_labels=2)),
        Nucleotide(),
        ("non-promoter", "promoter"),
        "promoters",
    )
    with pytest.raises(CapabilityError, match="one label for a sequence and none for its bases"):
        list(annotate(whole, genome, "promoter", tmp_path))
    (tmp_path / "o.fa").write_text(">c:1-4\nACGT\n>c\nACG\n")
    with pytest.raises(DataError, match=r"o\.fa: 'c:1-4' and 'c' overlap\."):
        contigs_of(Genome(tmp_path / "o.fa"))
