"""Windows of a genome: what each base is, counted again one by one, and what is refused."""

from __future__ import annotations

import gzip
import logging
from pathlib import Path

import numpy as np
import pytest

from basewise.data.labelled import read_labelled
from basewise.data.windows import Windows, other_strand, pieces
from basewise.errors import ConfigError, DataError
from basewise.types import Interval, Record, Span

RNG = np.random.default_rng(5)
CHROMS = {"chr1": 997, "chr2": 410, "chrS": 9}


def fasta(path: Path, sequences: dict[str, str]) -> Path:
    path.write_text("".join(f">{name}\n{text}\n" for name, text in sequences.items()))
    return path


def bed(path: Path, rows: list[tuple[object, ...]]) -> Path:
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


@pytest.fixture
def sequences() -> dict[str, str]:
    found = {name: "".join(RNG.choice(list("ACGT"), b)) for name, b in CHROMS.items()}
    found["chr1"] = found["chr1"][:50] + "N" * 7 + found["chr1"][57:].lower()
    return found


@pytest.fixture
def genome(tmp_path, sequences) -> Path:
    return fasta(tmp_path / "g.fa", sequences)


@pytest.fixture
def labels(tmp_path) -> dict[str, Path]:
    z = [("chr1", 100, 131), ("chr1", 11, 15), ("chr1", 120, 140), ("chr2", 398, 410)]
    z += [("chr9", 5, 9)]  # a chromosome that is not in the genome
    return {
        "Z-DNA": bed(tmp_path / "z.bed", z),
        "G4": bed(tmp_path / "g4.bed", [("chr1", 140, 145), ("chr1", 600, 640)]),
    }


def truth_of(labels: dict[str, Path]) -> dict[tuple[str, int], str]:
    """The label of every labelled base of the genome, the slow way."""
    found = {}
    for name, path in labels.items():
        for line in path.read_text().splitlines():
            chrom, start, end = line.split("\t")
            found |= {(chrom, at): name for at in range(int(start), int(end))}
    return found


@pytest.mark.parametrize("step", [None, 13, 60])
@pytest.mark.parametrize("packed", [False, True])
def test_every_base_of_every_window(genome, labels, sequences, step, packed):
    if packed:
        text, genome = genome.read_bytes(), genome.with_suffix(".fa.gz")
        genome.write_bytes(gzip.compress(text))
    windows = Windows(width=37, step=step, negatives="all", max_unknown=1.0)
    records = windows.cut(genome, labels)
    known = truth_of(labels)
    starts: dict[str, list[int]] = {}
    for record in records:
        chrom, start, end, strand = record.locus
        assert strand == "+"
        assert record.id == str(record.locus)
        assert record.sequence == sequences[chrom][start:end].upper()
        named = {start + at: s.name for s in record.truth for at in range(s.start, s.end)}
        assert named == {at: known[chrom, at] for at in range(start, end) if (chrom, at) in known}
        counts = {name: list(named.values()).count(name) for name in labels}
        assert record.label == (max(counts, key=counts.get) if named else "background")
        starts.setdefault(chrom, []).append(start)
    for chrom in ("chr1", "chr2"):
        b = CHROMS[chrom]
        expected = list(range(0, b - 36, step or 37))
        assert starts[chrom] == sorted({*expected, b - 37})
    assert "chrS" not in starts  # shorter than a window


def test_spans_are_joined_and_sorted(genome, labels):
    every = Windows(width=100, negatives="all").cut(genome, labels)
    (record,) = (r for r in every if r.locus[:2] == ("chr1", 100))
    assert record.truth == (Span(0, 40, "Z-DNA"), Span(40, 45, "G4"))
    assert record.label == "Z-DNA"


def test_unknown_bases_and_blacklist(genome, labels, tmp_path):
    windows = Windows(width=50, negatives="all")
    starts = {r.locus[:2] for r in windows.cut(genome, labels)}
    assert ("chr1", 50) not in starts
    some = Windows(width=50, negatives="all", max_unknown=7 / 50).cut(genome, labels)
    assert ("chr1", 50) in {r.locus[:2] for r in some}
    out = bed(tmp_path / "out.bed", [("chr1", 149, 151), ("chr1", 250, 300), ("chr7", 0, 9)])
    kept = {r.locus[:2] for r in windows.cut(genome, labels, blacklist=out)}
    assert starts - kept == {("chr1", 100), ("chr1", 150), ("chr1", 250)}


def test_negatives_are_drawn_for_each_positive(genome, labels, caplog):
    every = Windows(width=10, negatives="all").cut(genome, labels)
    positive = [r for r in every if r.truth]
    with caplog.at_level(logging.INFO):
        drawn = Windows(width=10, per_positive=2).cut(genome, labels, seed=1)
    assert [r for r in drawn if r.truth] == positive
    for chrom in ("chr1", "chr2"):
        here = [bool(r.truth) for r in drawn if r.locus.chrom == chrom]
        assert here.count(False) == 2 * here.count(True)
    assert set(map(repr, drawn)) < set(map(repr, every))
    assert drawn == Windows(width=10, per_positive=2).cut(genome, labels, seed=1)
    assert drawn != Windows(width=10, per_positive=2).cut(genome, labels, seed=2)
    with caplog.at_level(logging.WARNING):
        Windows(width=10, per_positive=90).cut(genome, labels)
    assert "windows without a label are lacking: negatives = 'random'" in caplog.text


def test_gc_of_drawn_windows_is_that_of_the_positives(tmp_path):
    # Half of the windows is AT-rich, half GC-rich; only GC-rich ones are labelled.
    rich = RNG.random(600) < 0.5
    text = "".join(
        "".join(RNG.choice(list("ACGT"), 20, p=(0.1, 0.4, 0.4, 0.1) if r else (0.4, 0.1, 0.1, 0.4)))
        for r in rich
    )
    genome = fasta(tmp_path / "g.fa", {"c": text})
    at = RNG.choice(np.flatnonzero(rich), 60, replace=False) * 20
    z = {"Z": bed(tmp_path / "z.bed", [("c", a + 3, a + 8) for a in at])}

    def gc(negatives: str) -> tuple[np.ndarray, np.ndarray]:
        records = Windows(width=20, negatives=negatives).cut(genome, z)
        counts = [(r.sequence.count("G") + r.sequence.count("C"), bool(r.truth)) for r in records]
        return tuple(np.sort([n for n, held in counts if held is which]) for which in (True, False))

    positive, matched = gc("gc_matched")
    assert len(positive) == 60
    assert len(matched) >= 55
    assert abs(positive.mean() - matched.mean()) < 0.5
    assert positive.mean() - gc("random")[1].mean() > 3


def test_pieces_of_chromosomes_lie_where_their_names_say(tmp_path, sequences, labels):
    whole = fasta(tmp_path / "whole.fa", {"chr1": sequences["chr1"]})
    pieces = [
        fasta(tmp_path / "a.fa", {"chr1:91-310": sequences["chr1"][90:310]}),
        fasta(tmp_path / "b.fa", {"chr1:391-640": sequences["chr1"][390:640]}),
    ]
    windows = Windows(width=30, negatives="all")
    by_place = {r.locus: r for r in windows.cut(whole, labels)}
    found = windows.cut(pieces, labels)
    assert found[0].locus == Interval("chr1", 90, 120)
    assert found[-1].locus == Interval("chr1", 610, 640)
    assert {r for r in found if r.locus in by_place} <= set(by_place.values())
    assert sum(bool(r.truth) for r in found) == 4
    with pytest.raises(DataError, match=r"a\.fa and .*a\.fa both hold 'chr1:91-310'\."):
        windows.cut([pieces[0], pieces[0]], labels)


def test_the_other_strand(genome, labels):
    windows = Windows(width=37, both_strands=True)
    records = windows.cut(genome, labels)
    assert len(records) == 2 * len(Windows(width=37).cut(genome, labels))
    for one, other in zip(records[::2], records[1::2], strict=True):
        assert other.locus == one.locus._replace(strand="-")
        assert other.id == str(other.locus)
        assert other_strand(other) == one
        pairs = [(one.sequence[s.start : s.end], s.name) for s in one.truth]
        turned = [(other.sequence[s.start : s.end], s.name) for s in reversed(other.truth)]
        complement = str.maketrans("ACGT", "TGCA")
        assert pairs == [(t.translate(complement)[::-1], name) for t, name in turned]
    plain = Record("a", "ACCN", "Z", None, (Span(0, 1, "Z"),))
    assert other_strand(plain) == Record("a/rc", "NGGT", "Z", None, (Span(3, 4, "Z"),))
    assert other_strand(other_strand(plain)) == plain


def test_long_contigs_are_counted_in_stretches(genome, labels, monkeypatch):
    windows = Windows(width=29, step=7, negatives="gc_matched", max_unknown=0.2)
    before = windows.cut(genome, labels, seed=3)
    monkeypatch.setattr("basewise.data.windows._STRETCH", 64)
    assert windows.cut(genome, labels, seed=3) == before


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("1", 3, 9)], r"z\.bed says '1' where the genome says 'chr1'; write the names of one"),
        ([("chr1", 3, 9), ("2", 3, 9)], r"says '2' where the genome says 'chr2'"),
        (
            [("chr1", 3, 9), ("chr1", 990, 998)],
            r"chr1:990-998 is beyond the end, chr1 has 997 bases in the genome; take the genome",
        ),
        ([("scaffold_1", 3, 9)], r"no chromosome of the genome: it has scaffold_1; the genome ch"),
        ([("chrS", 3, 9)], r"No window of .*g\.fa holds a base of .*z\.bed \(39 windows of 37"),
    ],
)
def test_regions_that_do_not_go_with_the_genome(genome, tmp_path, rows, said):
    with pytest.raises(DataError, match=said) as error:
        Windows(width=37, negatives="all").cut(genome, {"Z": bed(tmp_path / "z.bed", rows)})
    assert "\n" not in str(error.value)


def test_labels_that_overlap_are_refused(genome, labels, tmp_path):
    labels["G4"] = bed(tmp_path / "g4.bed", [("chr1", 139, 145)])
    said = r"chr1:100-140 is 'Z-DNA' and chr1:139-145 is 'G4': labels must not overlap \(1 do"
    with pytest.raises(DataError, match=said):
        Windows(width=37).cut(genome, labels)


def test_bad_settings_and_files(genome, labels, tmp_path):
    with pytest.raises(ConfigError, match="'background' names the bases in no file"):
        Windows().cut(genome, {"background": labels["G4"]})
    with pytest.raises(ConfigError, match="name at least one BED file"):
        Windows().cut(genome, {})
    with pytest.raises(ConfigError, match=r"max_unknown = 1\.5: input should be less than or eq"):
        Windows(max_unknown=1.5)
    broken = fasta(tmp_path / "b.fa", {"chr1": "ACGTRACGT"})
    z = {"Z": bed(tmp_path / "y.bed", [("chr1", 1, 3)])}
    with pytest.raises(DataError, match=r"b\.fa: letter 'R' at base 4 of chr1 is none of ACGTN"):
        Windows(width=5).cut(broken, z)


# ------------------------------------------------------------------------------- tables


def table(path: Path, rows: list[str], header: str = "chrom,start0,end0,split,z,sequence") -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_table_with_intervals(tmp_path):
    rows = ["chr1,5,13,train,1-3;3-4;6-8,ACGTACGT", "chr1,20,24,test,,acgt"]
    found = read_labelled(table(tmp_path / "t.csv", rows), label="Z", intervals="z", split="split")
    one, other = found.records
    assert found.splits == ["train", "test"]
    assert one.truth == (Span(1, 4, "Z"), Span(6, 8, "Z"))
    assert (one.label, other.label) == ("Z", "background")
    assert one.locus == Interval("chr1", 5, 13)
    assert (one.id, other.sequence) == ("chr1:5-13(+)", "ACGT")
    bare = table(tmp_path / "u.csv", ["AACC,0-4", "GGT,"], "seq,intervals")
    assert [r.id for r in read_labelled(bare, label="Z").records] == ["u:1", "u:2"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("c,0,4,a,3-1,ACGT", r"t\.csv, line 3: '3-1' is not an interval; write start-end;start-e"),
        ("c,0,4,a,x,ACGT", r"line 3: 'x' is not an interval"),
        ("c,0,4,a,2-5,ACGT", r"line 3: the interval 2-5 ends beyond the 4 bases of its row"),
        ("c,0,4,a,0-2;1-3,ACGT", r"line 3: the intervals 0-2 and 1-3 overlap or are not in order"),
        ("c,0,5,a,0-2,ACGT", r"line 3: c:0-5\(\+\) for a sequence of 4 bases"),
    ],
)
def test_intervals_that_cannot_be(tmp_path, row, said):
    path = table(tmp_path / "t.csv", ["c,7,9,a,0-1,AC", row])
    with pytest.raises(DataError, match=said):
        read_labelled(path, label="Z", intervals="z")


def test_tables_without_what_is_needed(tmp_path):
    path = table(tmp_path / "t.csv", ["c,7,9,a,,AC"])
    with pytest.raises(DataError, match=r"has no column 'zz'\. Did you mean 'z'\? Its columns"):
        read_labelled(path, label="Z", intervals="zz")
    with pytest.raises(DataError, match=r"t\.csv: no row has an interval in the column 'z'"):
        read_labelled(path, label="Z", intervals="z")


def test_pieces_of_a_window_keep_their_places_and_labels() -> None:
    record = Record(
        "r", "ACGTACGTAC", "box", Interval("c", 100, 110), (Span(2, 6, "box"), Span(9, 10, "box"))
    )
    found = pieces(record, 4)
    assert [r.id for r in found] == ["r@0-4", "r@4-8", "r@6-10"]
    assert [r.sequence for r in found] == ["ACGT", "ACGT", "GTAC"]
    assert [(r.locus.start, r.locus.end) for r in found if r.locus] == [
        (100, 104),
        (104, 108),
        (106, 110),
    ]
    assert [r.truth for r in found] == [
        (Span(2, 4, "box"),),
        (Span(0, 2, "box"),),
        (Span(3, 4, "box"),),
    ]
    turned = pieces(other_strand(record), 4)
    for one, other in zip(found, [turned[0], turned[1], turned[2]][::-1], strict=True):
        if one.id != "r@4-8":  # both ends are cut alike, the middle is not
            assert other_strand(other).locus == one.locus
            assert other_strand(other).truth == one.truth
            assert other_strand(other).sequence == one.sequence
    assert pieces(record, 10) == [record]
