"""Motif libraries: the three text formats, read to the same motif, and refused line by line."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from basewise.errors import DataError
from basewise.motifs.library import read_motifs

MEME = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25

MOTIF MA1 Ab
letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 0
 0.5 0.5 0 0
 0 0 1 0
 0.25 0.25 0.25 0.25
URL BLANK

MOTIF MA2
letter-probability matrix: alength= 4 w= 1
0 0 0 1
"""
TRANSFAC = """VV  some version
XX
//
AC MA1
XX
ID Ab
XX
P0  A C G T
01  5 5 0 0 M
02  0 0 7 0 G
03  2 2 2 2
XX
CC nothing
//
AC MA2
ID MA2
PO T G C A
01 3 0 0 0
//
"""
JASPAR = """>MA1 Ab
A [ 5 0 2 ]
C [ 5 0 2 ]
G [ 0 7 2 ]
T [ 0 0 2 ]
>MA2
0
0
0
9
"""


@pytest.mark.parametrize("text", [MEME, TRANSFAC, JASPAR], ids=["meme", "transfac", "jaspar"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_three_formats_hold_the_same_motifs(tmp_path, text, pack):
    path = tmp_path / "library"
    path.write_bytes(pack(text.encode()))
    one, two = read_motifs(path)
    assert (one.name, two.name) == ("MA1 Ab", "MA2")
    assert (one.source, one.window, one.strands) == ("library", None, "both")
    np.testing.assert_allclose(one.matrix, [[0.5, 0.5, 0, 0], [0, 0, 1, 0], [0.25] * 4])
    np.testing.assert_allclose(two.matrix, [[0, 0, 0, 1]])


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "library is empty"),
        ("GATTACA\n", "library, line 1: 'GATTACA' begins no motif library; MEME files begin"),
        ("MEME version 4\n", "library holds no motif"),
        (MEME.replace("ACGT", "ACDEFGH", 1), "line 3: .*only the alphabet ACGT is read"),
        (MEME.replace(" 0 0 1 0", " 0 0 1"), "line 13: a row of motif 'MA1 Ab' has 3 columns; it"),
        (MEME.replace(" 0 0 1 0", " 0 x 1 0"), "line 13: motif 'MA1 Ab' has 'x' where a number"),
        (
            MEME.replace(" 0 0 1 0\n", "").replace("URL BLANK\n", ""),
            "line 10: motif 'MA1 Ab' has 2 rows; it says w= 3",
        ),
        (MEME.replace("w= 1", "w= 2"), "line 17: motif 'MA2' has 1 rows; it says w= 2"),
        (MEME.replace("w= 1", ""), "line 18: the matrix of motif 'MA2' does not say its width"),
        (MEME.replace("MOTIF MA2", "MOTIF MA1 Ab"), "line 17: there is a motif 'MA1 Ab' already"),
        (MEME.replace("MOTIF MA2", "MOTIF"), "line 17: a motif has no name"),
        (MEME.replace(" 0 0 1 0", " 0 0 0 0"), "line 10: .*the counts of row 2 sum to 0"),
        (TRANSFAC.replace("P0  A C G T", "P0  A C G U"), "line 8: the columns are 'A C G U'"),
        (TRANSFAC.replace("0 0 7 0 G", "0 0 7"), "line 10: a row of motif 'MA1' has 3 columns"),
        (TRANSFAC[:-3], "line 18: motif 'MA2' does not end with '//'"),
        (TRANSFAC.replace("01 3 0 0 0\n", ""), "line 15: motif 'MA2' has no rows"),
        (JASPAR.replace("C [ 5 0 2 ]", "C [ 5 0 ]"), "line 3: motif 'MA1 Ab' has 2 numbers for C"),
        (JASPAR[:-3], "line 6: motif 'MA2' has 3 rows; it needs A, C, G, T"),
        (JASPAR.replace(">MA2", "MA2"), "line 6: 'MA2' stands where '>accession name' belongs"),
    ],
)
def test_bad_libraries_are_refused_in_one_line(tmp_path, text, says):
    path = tmp_path / "library"
    path.write_text(text)
    with pytest.raises(DataError, match=says) as error:
        read_motifs(path)
    assert "\n" not in str(error.value)
