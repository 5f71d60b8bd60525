"""The core-promoter panel: elements of RNA polymerase II promoters and where they lie.

Windows are biological positions of the whole hit, both ends included, +1 being the first
transcribed base (see `motif`). Where the literature gives one place, the window is that place
(Inr, TCT, XCPE1, MTE, DPE). TATA and the two BREs beside it keep their spacing to each other and
may float, as TATA does: its first T, -31 or -30 in the consensus, may lie from -35 to -26.

Elements that bind along the direction of transcription are looked for on that strand only; the
GC box and the CCAAT box work in both orientations. Patterns are consensus sequences, so a hit
is an exact match: a stringent reading, in which many real elements with a mismatch are missed.

Literature
----------
Bucher 1990, J Mol Biol 212:563 (preferred regions of TATA, CCAAT, GC box; the tables are also
kept by the Eukaryotic Promoter Database); Lagrange et al. 1998, Genes Dev 12:34 (BREu); Deng &
Roberts 2005, Genes Dev 19:2418 (BREd); Vo ngoc et al. 2017, Genes Dev 31:6 (human Inr); Javahery
et al. 1994, Mol Cell Biol 14:116 (Inr YYANWYY); Parry et al. 2010, Genes Dev 24:2013 (TCT);
Tokusumi et al. 2007, Mol Cell Biol 27:1844 (XCPE1); Lim et al. 2004, Genes Dev 18:1606 (MTE);
Kadonaga 2012, WIREs Dev Biol 1:40 (review; TATA, DPE); Lee et al. 2005, Mol Cell Biol 25:9674
(DCE); Mantovani 1998, Nucleic Acids Res 26:1135 (CCAAT flanks and orientation); Yang et al. 2007,
Gene 389:52 (TATAWAWR, Inr in human promoters).
"""

from __future__ import annotations

from collections.abc import Mapping

from basewise.motifs.motif import Motif

__all__ = ["CORE_PROMOTER", "PANELS"]

CORE_PROMOTER: tuple[Motif, ...] = (
    Motif.from_iupac(
        "TATA",
        "TATAWAW",
        "Kadonaga 2012 (TATAWAAR, first T at -31 or -30); Yang et al. 2007 (TATAWAWR)",
        (-35, -20),
        "+",
    ),
    Motif.from_iupac(
        "BREu", "SSRCGCC", "Lagrange et al. 1998: immediately upstream of TATA", (-42, -27), "+"
    ),
    Motif.from_iupac(
        "BREd", "RTDKKKK", "Deng & Roberts 2005: immediately downstream of TATA", (-27, -12), "+"
    ),
    Motif.from_iupac("Inr", "BBCABW", "Vo ngoc et al. 2017: human, A at +1", (-3, 3), "+"),
    Motif.from_iupac("Inr_YR", "YYANWYY", "Javahery et al. 1994: mammalian, A at +1", (-2, 5), "+"),
    Motif.from_iupac("TCT", "YYCTTTYY", "Parry et al. 2010: C at +1", (-2, 6), "+"),
    Motif.from_iupac("XCPE1", "DSGYGGRASM", "Tokusumi et al. 2007", (-8, 2), "+"),
    Motif.from_iupac("MTE", "CSARCSSAAC", "Lim et al. 2004", (18, 27), "+"),
    Motif.from_iupac("DPE", "RGWYVT", "Kadonaga 2012", (28, 33), "+"),
    Motif.from_iupac("DCE_S1", "CTTC", "Lee et al. 2005: first sub-element", (6, 11), "+"),
    Motif.from_iupac("DCE_S2", "CTGT", "Lee et al. 2005: second sub-element", (16, 21), "+"),
    Motif.from_iupac("DCE_S3", "AGC", "Lee et al. 2005: third sub-element", (30, 34), "+"),
    Motif.from_iupac(
        "GC_box", "GGGCGG", "Bucher 1990: core of the box, -164 to +1 preferred", (-164, 1)
    ),
    Motif.from_iupac(
        "CCAAT_box",
        "RRCCAATSR",
        "Mantovani 1998 (flanks, orientation); Bucher 1990 (-212 to -57 preferred)",
        (-212, -57),
    ),
)
"""Elements from TATA to CCAAT, each with its pattern, window, strands and source."""

PANELS: Mapping[str, tuple[Motif, ...]] = {"core_promoter": CORE_PROMOTER}
"""Panels by the name that a study gives."""
