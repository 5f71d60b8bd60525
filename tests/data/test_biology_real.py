"""What is known of the real GUE promoters, found again; and real motif libraries, read whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from basewise import Record
from basewise.biology.enrichment import class_enrichment
from basewise.data.reading import read
from basewise.motifs.library import read_motifs
from basewise.motifs.motif import Motif, Window
from basewise.motifs.panel import CORE_PROMOTER
from basewise.motifs.scan import in_window, scan

DATA = Path(__file__).parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the shared data is not here")

TSS = 249  # 0-based index of +1 in the promoters of 300 bases


@pytest.fixture(scope="module")
def promoters() -> list[Record]:
    labels = {"0": "non-promoter", "1": "promoter"}
    return read(DATA / "gue/prom/prom_300_all/test.csv", labels=labels)


def test_what_marks_promoters_and_what_marks_the_others(promoters):
    panel = {motif.name: motif for motif in CORE_PROMOTER}
    motifs = [
        Motif.from_iupac("TATA anywhere", "TATA", strands="+"),
        panel["TATA"],
        panel["Inr"],
        replace(panel["GC_box"], window=Window(-89, -15)),  # starts at 160 to 229
    ]
    # The places as they are known: indices of the first base of a hit.
    assert panel["TATA"].window.span(TSS)[:2] == (214, 223 + len("TATAWAW"))
    assert panel["Inr"].window.span(TSS).start == 246
    assert motifs[3].window.span(TSS)[:2] == (160, 229 + len("GGGCGG"))

    table = class_enrichment(promoters, motifs, label="promoter", tss=TSS).set_index("motif")
    assert (table["n"] == 2980).all()
    assert (table["n_null"] == 2940).all()
    row = table.loc["TATA anywhere"]
    assert round(row["observed"], 3) == 0.230
    assert round(row["expected"], 3) == 0.527
    assert [round(row[name], 3) for name in ("effect", "low", "high")] == [0.268, 0.240, 0.300]
    row = table.loc["TATA"]
    assert row["with_hit"] == 73
    assert round(row["expected"] * row["n_null"]) == 49
    assert round(row["effect"], 2) == 1.48
    assert round(table.loc["Inr", "effect"], 2) == 3.09
    assert round(table.loc["GC_box", "effect"], 2) == 2.89


def test_core_promoters_are_the_same_bases_with_the_tss_at_33(promoters):
    core = [Record(r.id, r.sequence[216:286], r.label) for r in promoters[:400]]
    near = [
        m
        for m in CORE_PROMOTER
        if m.window.span(TSS).start >= 216 and m.window.span(TSS).end <= 286
    ]
    assert {m.name for m in near} >= {"Inr", "DPE", "MTE", "TCT"}
    long = in_window(scan(promoters[:400], near), near, tss=TSS)
    short = in_window(scan(core, near), near, tss=33)
    assert len(short) > 50
    moved = short.assign(start=short["start"] + 216, end=short["end"] + 216)
    assert moved.equals(long)


def test_real_libraries_are_read_whole():
    folder = DATA / "motifs"
    jaspar = {m.name: m for m in read_motifs(folder / "jaspar2024_core.transfac.gz")}
    assert len(jaspar) == 2346
    assert len(read_motifs(folder / "H12CORE_meme_format.meme.gz")) == 1443
    assert len(read_motifs(folder / "jaspar_2024_consensus.meme")) == 182
    # The Runx1 site TGTGGT, as counted.
    runx = jaspar["MA0002.3 Runx1"]
    assert "TGTGGT" in "".join("ACGT"[i] for i in runx.matrix.argmax(1))
