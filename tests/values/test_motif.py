"""Motifs, their place relative to the TSS, and the core-promoter panel: all checked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from basewise import Record
from basewise.errors import DataError
from basewise.motifs.motif import IUPAC, Motif, Window, check_tss
from basewise.motifs.panel import CORE_PROMOTER
from basewise.picture.axis import index_of, position_of


def test_there_is_no_position_zero():
    # In a GUE promoter of 300 bases +1 is index 249, so -1 is 248.
    assert index_of(1, tss=249) == 249
    assert index_of(-1, tss=249) == 248
    assert index_of(-31, tss=249) == 218
    assert index_of(28, tss=249) == 276
    with pytest.raises(DataError, match="Position 0 does not exist"):
        index_of(0, tss=249)


def test_positions_and_indices_are_inverse():
    for position in [-40, -2, -1, 1, 2, 40]:
        assert position_of(index_of(position, tss=33), tss=33) == position
    assert position_of(33, tss=33) == 1
    assert position_of(32, tss=33) == -1


def test_a_window_holds_both_of_its_ends():
    # The core promoters are [216:286] of the long ones, so +1 is 249 - 216 = 33.
    assert Window(-3, 3).span(tss=33) == (30, 36, "")
    assert Window(28, 33).span(tss=33) == (60, 66, "")
    assert Window(-35, -20).span(tss=249) == (214, 230, "")
    assert str(Window(-3, 3)) == "-3..+3"


def test_iupac_letters_and_their_complements():
    motif = Motif.from_iupac("x", "tawn")
    np.testing.assert_allclose(
        motif.matrix, [[0, 0, 0, 1], [1, 0, 0, 0], [0.5, 0, 0, 0.5], [0.25] * 4]
    )
    assert motif.pattern == "TAWN"
    assert motif.reverse_complement().pattern == "NWTA"
    assert Motif.from_iupac("x", "RKVBDM").reverse_complement().pattern == "KHVBMY"
    for letter in IUPAC:
        motif = Motif.from_iupac("x", f"A{letter}")
        back = motif.reverse_complement().reverse_complement()
        assert back.pattern == f"A{letter}"
        np.testing.assert_array_equal(back.matrix, motif.matrix)


def test_counts_become_probabilities():
    motif = Motif.from_counts("x", [[1, 1, 2, 0], [5, 0, 0, 0]])
    np.testing.assert_allclose(motif.matrix, [[0.25, 0.25, 0.5, 0], [1, 0, 0, 0]])


def test_a_motif_keeps_its_own_matrix():
    given = np.full((3, 4), 0.25)
    motif = Motif("x", given)
    given[:] = 7
    assert motif.matrix.max() == 0.25
    with pytest.raises(ValueError, match="read-only"):
        motif.matrix[0, 0] = 1


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: Motif("x", np.ones((3, 5)) / 5), r"shape \(3, 5\); it needs \(width, 4\)"),
        (lambda: Motif("x", [[3, 0, 1, 0]]), "row 1 of 1 is 3, 0, 1, 0; it needs four prob"),
        (lambda: Motif("x", [[0.25] * 4, [1.5, -0.5, 0, 0]]), "row 2 of 2 is 1.5, -0.5"),
        (lambda: Motif("x", [[np.nan, 0, 0, 1]]), "row 1 of 1 is nan"),
        (lambda: Motif("x", [[0.25] * 4], strands="-"), "strands is '-'; it must be '\\+' or"),
        (lambda: Motif.from_iupac("x", "TAXAQ"), "'TAXAQ' holds 'Q', 'X'; IUPAC letters are ACG"),
        (lambda: Motif.from_iupac("x", ""), "pattern '' is empty"),
        (lambda: Motif.from_iupac("x", "TATAA", window=(-3, 1)), r"5 bases wide; its .* holds 4"),
        (lambda: Motif.from_iupac("x", "TA", window=(0, 9)), "Position 0 does not exist"),
        (lambda: Motif.from_iupac("x", "TA", window=(9, 3)), "window .* holds 0"),
        (lambda: Motif.from_counts("x", [[1, 1, 1, 1], [0, 0, 0, 0]]), "counts of row 2 sum to 0"),
    ],
)
def test_bad_motifs_are_refused_in_one_line(make, says):
    with pytest.raises(DataError, match=says) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_tss_outside_a_record_is_refused():
    records = [Record("a", "ACGTACGT"), Record("b", "ACG")]
    check_tss(records, CORE_PROMOTER, 2)
    with pytest.raises(DataError, match=r"TSS \(index 3\) lies outside record 'b' of 3 bases"):
        check_tss(records, CORE_PROMOTER, 3)
    with pytest.raises(DataError, match="0 to 7"):
        check_tss(records, CORE_PROMOTER, -1)
    with pytest.raises(DataError, match=r"'TATA' belongs at -35..-20 of the TSS; give tss"):
        check_tss(records, CORE_PROMOTER, None)


def test_the_panel_stands_where_the_literature_puts_it():
    panel = {motif.name: motif for motif in CORE_PROMOTER}
    assert len(panel) == len(CORE_PROMOTER)
    assert all(motif.source and motif.window for motif in CORE_PROMOTER)
    # Elements with one place: the window is as long as the pattern.
    for name in ["Inr", "Inr_YR", "TCT", "XCPE1", "MTE", "DPE"]:
        span = panel[name].window.span(100)
        assert span.end - span.start == len(panel[name]), name
    # The A of both initiators and the C of TCT are +1.
    for name, letter in [("Inr", "A"), ("Inr_YR", "A"), ("TCT", "C")]:
        motif = panel[name]
        assert motif.pattern[100 - motif.window.span(100).start] == letter
    # BREu ends where TATA begins; BREd begins where the eight bases of TATAWAAR end.
    tata, up, down = (panel[name].window.span(100) for name in ("TATA", "BREu", "BREd"))
    assert tata.start - up.start == len(panel["BREu"])
    assert down.start - tata.start == 8
    assert {name for name in panel if panel[name].strands == "both"} == {"GC_box", "CCAAT_box"}
