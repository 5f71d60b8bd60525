"""bigWig and BED: what is written is what is read back, at exactly those bases."""

import numpy as np
import pybigtools
import pytest

from basewise.data.browser import BedRow, Piece, write_bed, write_bigwig, write_regions
from basewise.errors import ConfigError, DataError
from basewise.types import Interval

NAN = np.nan


def piece(chrom, start, *values):
    return Piece(chrom, start, np.array(values, np.float32))


PIECES = [
    piece("chr1", 0, NAN, 0.25, 0.25, 0.75),
    piece("chr1", 4, 0.75, 0.5, NAN),
    piece("chr10", 2, 0.875, 0.875, 0.875),
    piece("chr2", 8, 0.625, 0.0),
]
SIZES = {"chr2": 10, "chr10": 6, "chr1": 9, "empty": 4}


def test_a_bigwig_holds_each_number_at_its_base(tmp_path):
    write_bigwig(tmp_path / "z.bw", SIZES, PIECES)
    read = pybigtools.open(str(tmp_path / "z.bw"))
    assert read.chroms() == {"chr1": 9, "chr10": 6, "chr2": 10}
    for chrom, expected in {
        "chr1": [NAN, 0.25, 0.25, 0.75, 0.75, 0.5, NAN, NAN, NAN],
        "chr10": [NAN, NAN, 0.875, 0.875, 0.875, NAN],
        "chr2": [NAN] * 8 + [0.625, 0.0],
    }.items():
        np.testing.assert_array_equal(read.values(chrom, 0, SIZES[chrom], fillna=None), expected)
    assert next(iter(read.records("chr1"))) == (1, 3, 0.25)
    assert [path.name for path in tmp_path.iterdir()] == ["z.bw"]


def test_the_same_numbers_are_the_same_bytes(tmp_path):
    for name in ("a.bw", "b.bw"):
        write_bigwig(tmp_path / name, SIZES, iter(PIECES))
    assert (tmp_path / "a.bw").read_bytes() == (tmp_path / "b.bw").read_bytes()


@pytest.mark.parametrize(
    "pieces, said",
    [
        (PIECES[::-1], "chr10:2-5 comes after chr2:10; give the pieces of a track in alphabetic"),
        ([piece("chr2", 9, 0.5, 0.5)], "chr2:9-11 is outside chr2, which has 10 bases."),
        ([piece("chr1", 0, NAN, NAN)], "no base has a number, and a bigWig cannot be empty."),
        ([], "no base has a number, and a bigWig cannot be empty."),
    ],
)
def test_what_cannot_be_written_leaves_no_file_and_prints_nothing(tmp_path, pieces, said, capfd):
    with pytest.raises(DataError, match=said):
        write_bigwig(tmp_path / "z.bw", SIZES, pieces)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_what_stops_the_pieces_stops_the_file(tmp_path):
    def pieces():
        yield PIECES[0]
        raise SystemExit(130)

    with pytest.raises(SystemExit):
        write_bigwig(tmp_path / "z.bw", SIZES, pieces())
    assert list(tmp_path.iterdir()) == []


def test_a_bigwig_is_named_like_one(tmp_path):
    with pytest.raises(ConfigError, match=r"z\.wig: the name of a bigWig ends in \.bw"):
        write_bigwig(tmp_path / "z.wig", SIZES, PIECES)


def test_regions_go_on_in_the_next_piece_and_end_at_unknown_bases(tmp_path):
    assert write_regions(tmp_path / "z.bed", PIECES, "Z DNA", 0.5) == 3
    assert (tmp_path / "z.bed").read_text().splitlines() == [
        "chr1\t3\t6\tZ_DNA\t667\t.",
        "chr10\t2\t5\tZ_DNA\t875\t.",
        "chr2\t8\t9\tZ_DNA\t625\t.",
    ]


def test_rows_keep_their_strand(tmp_path):
    write_bed(tmp_path / "g.bed", [BedRow(Interval("c|1", 3, 9, "-"), "dnaA", 1000, "-")])
    assert (tmp_path / "g.bed").read_text() == "c|1\t3\t9\tdnaA\t1000\t-\n"
