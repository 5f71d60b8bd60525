"""Files as people write them, and every way in which a row can be wrong."""

from __future__ import annotations

import csv
import gzip
import logging
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from basewise.data.reading import read, read_report
from basewise.errors import ConfigError, DataError
from basewise.types import Interval, Record


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str | bytes, name: str = "some.csv") -> Path:
        path = tmp_path / name
        content = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return path

    return write


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("some.csv", "sequence,label\nACGT,up\nggnt,down\n"),
        ("some.csv", "\ufeffsequence,label\r\nACGT,up\r\n\r\nggnt,down"),
        ("some.csv", '"label","note","Seq"\n"up","a, b","ACGT"\n"down","","ggnt"\n'),
        ("some.csv", "seq;class\nACGT;up\nggnt;down\n"),
        ("some.tsv.gz", "\n\ntarget\tseq\nup\tACGT \ndown\tggnt\n"),
        ("some.fa", ">some:1 label=up\nAC\nGT\n\n>some:2 x label=down\nggnt\n"),
        ("some.fasta.gz", ">some:1 x|label=up\r\nACGT\r\n>some:2 x|label=down\r\ngg\r\nnt\r\n"),
        ("some.txt", ">some:1 label=up\nAC GT\n>some:2 label=down\nggnt"),
    ],
)
def test_the_same_records_from_every_way_of_writing_them(file, name: str, text: str):
    assert read(file(text, name)) == [
        Record("some:1", "ACGT", "up"),
        Record("some:2", "GGNT", "down"),
    ]


def test_columns_are_given_and_values_renamed(file):
    path = file("split,dna_1,dna_2,y,key\ntest,AC,GT,1,a\ntrain,CC,TT,0,b\n")
    records = read(path, sequence="dna_2", label="y", id="key", labels={"0": "closed", "1": "open"})
    assert records == [Record("a", "GT", "open"), Record("b", "TT", "closed")]
    assert read(path, sequence="dna_1", label="y", labels="values")[0].label == 1.0


def test_a_table_without_a_header_is_recognised(file):
    text = "0.5\tACGTACGTAC\n-2\tACGTTCGTAC\n"
    assert [r.label for r in read(file(text, "a.txt"), labels="values")] == [0.5, -2.0]
    wide = file("x\tACGTACGTAC\t7\ny\tACGTTCGTAC\t8\n", "b.txt")
    assert read(wide)[1] == Record("b:2", "ACGTTCGTAC")
    assert read(wide, label="3", id="1")[1] == Record("y", "ACGTTCGTAC", "8")


def test_parquet(tmp_path: Path):
    table = pa.table({"seq": ["ACGT", "ccn", None], "label": [1, 0, 1], "other": [[1], [2], []]})
    pq.write_table(table, tmp_path / "some.parquet")
    report = read_report(tmp_path / "some.parquet", labels={"0": "no", "1": "yes"}, on_error="skip")
    assert report.records == [Record("some:1", "ACGT", "yes"), Record("some:2", "CCN", "no")]
    assert report.problems == (("empty_sequence", 3, "some:3", "no bases"),)
    with pytest.raises(DataError, match=r"row 3 \(id 'some:3'\): no bases"):
        read(tmp_path / "some.parquet")
    with pytest.raises(DataError, match=r"some.parquet cannot be read: .*list"):
        read(tmp_path / "some.parquet", label="other")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1" + bytes(20))
    with pytest.raises(DataError, match=r"broken.parquet cannot be read"):
        read(tmp_path / "broken.parquet")


def kmers(sequence: str, k: int, stride: int = 1) -> str:
    return " ".join(sequence[i : i + k] for i in range(0, len(sequence) - k + 1, stride))


def test_overlapping_kmers_are_put_together(file):
    sequences = ["ACGTTGCA", "ACGTT", "TTTTTTTT", "acgnacga", "ACG"]
    text = "sequence\tlabel\n" + "".join(f"{kmers(s, 3)}\tx\n" for s in sequences)
    assert [r.sequence for r in read(file(text))] == [s.upper() for s in sequences]


def test_words_that_do_not_overlap_are_only_joined(file):
    text = "sequence\nACGTAC GTTACA CC\nAAAA AAAA\nACG TTA\n"
    assert [r.sequence for r in read(file(text))] == ["ACGTACGTTACACC", "AAAAAAAA", "ACGTTA"]


def test_a_row_whose_kmers_do_not_fit_is_told(file):
    rows = [kmers("ACGTTGCA", 3), kmers("ACGTA", 3), "ACG CCT CTA", kmers("CCGTT", 3)]
    path = file("sequence\n" + "\n".join(rows))
    with pytest.raises(DataError, match=r"1 sequence of broken k-mers. line 4 \(id 'some:3'\)"):
        read(path)
    assert [r.sequence for r in read(path, on_error="skip")] == ["ACGTTGCA", "ACGTA", "CCGTT"]


BAD = """id,sequence,label
a,ACGT,0
b,ACXT,1
c,,0
a,TTTT,1
e,GGGG,2
f,CCUC,0
,CCCC,1
h,AAAA,
i,ACGT,1
"""


def test_every_problem_is_reported_with_line_and_id(file):
    report = read_report(file(BAD), labels={"0": "no", "1": "yes"}, on_error="skip")
    assert [tuple(problem) for problem in report.problems] == [
        ("illegal_letter", 3, "b", "letter 'X' at base 2 is none of ACGTN (unknown bases are N)"),
        ("empty_sequence", 4, "c", "no bases"),
        ("duplicate_id", 5, "a", "the id of line 2 too"),
        ("unknown_label", 6, "e", "label '2' is not one of 0, 1"),
        ("illegal_letter", 7, "f", "letter 'U' at base 2 is none of ACGTN (write T)"),
        ("missing_id", 8, "", "no id"),
        ("missing_label", 9, "h", "no label"),
        ("contradictory_label", 10, "i", "label 'yes', but 'no' at line 2 for the same sequence"),
    ]
    assert report.records == [Record("a", "ACGT", "no"), Record("i", "ACGT", "yes")]
    assert (report.rows, report.skipped) == (9, 7)
    assert report.counts == {
        "contradictory_label": 1, "duplicate_id": 1, "empty_sequence": 1, "illegal_letter": 2,
        "missing_id": 1, "missing_label": 1, "unknown_label": 1,
    }  # fmt: skip


def test_raising_says_counts_and_the_first_in_one_line(file):
    path = file(BAD)
    with pytest.raises(DataError) as caught:
        read(path, labels={"0": "no", "1": "yes"})
    assert str(caught.value) == (
        f"{path}: 1 duplicate id, 1 empty sequence, 2 sequences with illegal letters, "
        "1 missing id, 1 missing label, 1 unknown label. "
        "line 3 (id 'b'): letter 'X' at base 2 is none of ACGTN (unknown bases are N); "
        "line 4 (id 'c'): no bases; line 5 (id 'a'): the id of line 2 too; and 4 more. "
        "Mend the file, name the classes of these values in labels, or skip these rows: "
        "on_error='skip'."
    )


def test_skipped_rows_are_counted_in_the_log(file, caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, logger="basewise"):
        read(file(BAD), on_error="skip")
    assert "skipped 6 of 9 rows: " in caplog.text


def test_columns_that_may_hold_labels_are_named(file, caplog: pytest.LogCaptureFixture):
    path = file("dna,is_promoter,dose\nACGT,0,3\nGGCC,1,4\n")
    with caplog.at_level(logging.WARNING, logger="basewise"):
        assert [record.label for record in read(path)] == [None, None]
    assert "no labels were read" in caplog.text
    assert "is_promoter, dose" in caplog.text
    caplog.clear()
    assert [record.label for record in read(path, label="is_promoter")] == ["0", "1"]
    assert not caplog.text


def test_contradictory_labels_are_warned_of_and_kept(file, caplog: pytest.LogCaptureFixture):
    path = file("sequence,label\nACGT,0\nacgt,1\nCCCC,1\nCCCC,1\n")
    with caplog.at_level(logging.WARNING, logger="basewise"):
        assert len(read(path)) == 4
    assert (
        "1 contradictory label. line 3 (id 'some:2'): label '1', but '0' at line 2" in caplog.text
    )
    caplog.clear()
    assert len(read(path, labels="values")) == 4  # measured twice: no contradiction
    assert not caplog.text


def test_lines_are_counted_over_fields_with_line_breaks(file):
    text = 'note,sequence\n"two\nlines",ACGT\n\nx,ACXT\n'
    with pytest.raises(DataError, match=r"line 5 \(id 'some:2'\)"):
        read(file(text))


def test_rows_of_another_width_are_told(file):
    path = file("sequence,label\nACGT,0\nACGT,0,7\nTTTT\nCCCC,1\n")
    with pytest.raises(DataError, match=r"2 rows of another width. line 3: 3 fields where the"):
        read(path)
    report = read_report(path, on_error="skip")
    assert [r.id for r in report.records] == ["some:1", "some:2"]
    assert (report.rows, report.skipped) == (4, 2)


@pytest.mark.parametrize(
    ("name", "text", "settings", "message"),
    [
        ("a.csv", "", {}, "a.csv holds no sequence that can be read"),
        ("a.csv", "sequence,label\n", {}, "holds no sequence that can be read"),
        ("a.csv", "dan,label\nA,1\n", {}, "no column named sequence, .* or text; .* dan, label"),
        ("a.csv", "seq,sequence\nA,A\n", {}, "'seq' and 'sequence' may each be the sequence"),
        ("a.csv", "seq,label\nA,1\n", {"label": "labl"}, "no column 'labl'.* mean 'label'"),
        ("a.csv", "seq,a,a\nA,1,2\n", {"label": "a"}, "more than one column 'a' for the label"),
        ("a.csv", "seq\nA\n", {"labels": {"0": "x"}}, "a.csv: labels .* no label was found; say"),
        ("a.csv", "", {"labels": {"0": "x"}}, "a.csv holds no sequence that can be read"),
        ("a.csv", 'seq\n"ACGT\n', {}, "line 2: unexpected end of data"),
        ("a.csv", b"seq\nAC\xff\n", {}, "line 2: byte 0xff is not UTF-8"),
        ("a.csv", "seq\nAC\n".encode("utf-16-le"), {}, "line 1: a null byte, .* UTF-16, binary"),
        ("a.fa", b">a\nAC\0GT\n", {}, "line 2: a null byte, which no text has"),
        ("a.csv", "seq,label\nA,x\nC,nan\n", {"labels": "values"}, "label 'x' is not a number"),
        ("a.csv", "seq\nAé\n", {}, "letter 'é' at base 1"),
        ("a.xlsx", b"PK\x03\x04xx", {}, "a.xlsx is a spreadsheet; save the sheet as CSV"),
        ("a.csv", b"PK\x03\x04xx", {}, "is a zip archive; unpack it first"),
        ("a.fa", "ACGT\n", {}, "line 1: FASTA begins with '>'"),
        ("a.fa", ">x label=1\nAC\n>y\nAC\n", {}, r"1 missing label. line 3 \(id 'y'\)"),
        ("a.fa", ">x\nAC\n>x\nACC\n", {}, "1 duplicate id. line 3 .*the id of line 1 too"),
        ("a.fa", ">x\n>y\nAC\n", {}, "1 empty sequence. line 1"),
        ("a.fa", ">x\nAC\n", {"sequence": "seq"}, "'seq' has no meaning for FASTA"),
        ("a.parquet", "ACGT", {}, "not a Parquet file: it does not begin with PAR1"),
        ("a.bed", "chr1\t1\t2\n", {}, "holds intervals, not sequences; say genome="),
        ("a.csv", "seq\nA\n", {"on_error": "ignore"}, "one of 'raise' and 'skip'"),
    ],
)
def test_bad_files_are_told_in_one_line(file, name, text, settings, message):
    path = file(text, name)
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        read(path, **settings)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path: Path):
    with pytest.raises(DataError, match=r"nothing\.csv does not exist"):
        read(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder; give one file"):
        read(tmp_path)
    cut = gzip.compress(b"seq\n" + b"ACGT" * 99)[:-9]
    (tmp_path / "a.csv.gz").write_bytes(cut)
    with pytest.raises(DataError, match=r"not a whole gzip file .*download it again"):
        read(tmp_path / "a.csv.gz")


def test_the_limits_of_the_csv_module_are_given_back(file):
    limit = csv.field_size_limit()
    path = file("sequence\n" + "ACGT" * limit + "\n")
    assert len(read(path)[0]) == 4 * limit
    assert csv.field_size_limit() == limit


GENOME = ">chr1 first\nACGTacg\nTTTGGCC\nAN\n>chr2\nCCCC\n"
BED = """track name=x
#comment
chr1\t1\t4\tleft\t0\t+\tup
chr1\t1\t9\tright\t0\t-\tdown
chr2 0 4 whole 0 . up
"""


@pytest.mark.parametrize("packed", [False, True])
def test_bed_reads_the_strand_of_a_genome(file, packed: bool):
    genome = file(GENOME, "genome.fa.gz" if packed else "genome.fa")
    records = read(file(BED, "a.bed"), genome=genome, label="7")
    assert records == [
        Record("left", "CGT", "up", Interval("chr1", 1, 4, "+")),
        Record("right", "AACGTACG", "down", Interval("chr1", 1, 9, "-")),
        Record("whole", "CCCC", "up", Interval("chr2", 0, 4, "+")),
    ]


def test_bed_names_that_repeat_give_way_to_intervals(file):
    genome = file(GENOME, "genome.fa")
    path = file("chr1\t1\t3\tpeak\nchr1\t2\t5\tpeak\n", "a.bed")
    assert [r.id for r in read(path, genome=genome)] == ["chr1:1-3(+)", "chr1:2-5(+)"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("chr3\t1\t2", "genome.fa has no chromosome 'chr3'"),
        ("chr2\t1\t5", "chr2:1-5(+) is outside chr2, which has 4 bases"),
        ("chr2\t3\t3", "start 3 is not before end 3"),
        ("chr2\t-1\t3", "'chr2 -1 3' is not a chromosome, a start and an end"),
        ("chr2\t1", "'chr2 1' is not a chromosome"),
        ("chr2\t1\t3\tx\t0\t*", "strand '*' is neither + nor -"),
    ],
)
def test_bad_intervals_are_problems_of_their_line(file, line: str, message: str):
    genome = file(GENOME, "genome.fa")
    report = read_report(file(f"chr1\t1\t3\n{line}\n", "a.bed"), genome=genome, on_error="skip")
    assert [r.sequence for r in report.records] == ["CG"]
    [problem] = report.problems
    assert (problem.kind, problem.line) == ("bad_interval", 2)
    assert message in problem.value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (">x\nACG\nACGT\nAC\n", "cannot be indexed: Line length"),
        ("ACGT\n", "cannot be indexed"),
        (">x\nAC\n>x\nAC\n", "cannot be indexed: Duplicate"),
    ],
)
def test_broken_genomes_are_refused_in_one_line(file, text: str, message: str):
    genome, bed = file(text, "genome.fa"), file("chr1\t1\t3\n", "a.bed")
    with pytest.raises(DataError, match=message) as caught:
        read(bed, genome=genome)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"The genome .*none\.fa does not exist"):
        read(bed, genome=genome.with_name("none.fa"))


def test_a_genome_beside_which_nothing_can_be_written(file, caplog: pytest.LogCaptureFixture):
    genome, bed = file(GENOME, "genome.fa"), file("chr1\t1\t3\n", "a.bed")
    genome.with_name("genome.fa.fai").mkdir()  # not even root can write an index here
    with caplog.at_level(logging.WARNING, logger="basewise"):
        assert read(bed, genome=genome)[0].sequence == "CG"
    assert "no index can be written beside it" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_genome_in_a_read_only_folder(file):
    genome, bed = file(GENOME, "genome.fa"), file("chr1\t1\t3\n", "a.bed")
    genome.parent.chmod(0o555)
    try:
        assert read(bed, genome=genome)[0].sequence == "CG"
    finally:
        genome.parent.chmod(0o755)
