"""Sections on edited motifs and on stretches: true to the tables, silent where there is nothing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from basewise.report import SECTIONS
from basewise.report.blocks import Details, Figure, Table, Text
from basewise.report.interventions import intervention_sentences
from basewise.report.quality import Verdict, verdict_sentences
from basewise.store import write_frame
from basewise.study.results import Run, open_run
from synthetic_run import EXPLAINERS, make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_run(make_run(tmp_path, n=12))


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")


def change(run: Run, name: str, **values: object) -> None:
    frame = getattr(run, name).assign(**values)
    write_frame(run.folder / "biology" / f"{name}.parquet", frame, name)


def test_a_sentence_says_what_was_done_how_much_and_against_what(run: Run) -> None:
    said = [plain(sentence) for sentence in intervention_sentences(run, 9)]
    assert said[0] == (
        "Removing Inr (-35 to -20) lowers the log-odds of promoter of cnn by 1.80 [1.50, 2.10] "
        "more than the same edit of like stretches of the same sequences and the same edit at the "
        "same place of sequences without it do (n = 36 sequences, q < 0.001; the smaller of the "
        "two effects)."
    )
    assert (
        "Writing in TATA (-35 to -20) lowers the log-odds of promoter of cnn by 0.610 [0.310, "
        "0.910] more than its letters in another order at the same places does (n = 36 sequences, "
        "q = 0.004)."
    ) in said
    assert not any("DPE" in sentence or "MTE" in sentence for sentence in said)
    assert len(intervention_sentences(run, 2)) == 2


def test_a_claim_has_to_hold_against_every_control(run: Run) -> None:
    frame = run.interventions
    one = (frame["motif"] == "Inr") & (frame["null"] == "same position")
    change(run, "interventions", q=frame["q"].where(~one, 0.2))
    said = " ".join(intervention_sentences(run, 9))
    assert "Removing Inr" not in said
    change(run, "interventions", q=frame["q"], effect=frame["effect"].where(~one))
    said = " ".join(map(plain, intervention_sentences(run, 9)))
    assert "Removing Inr" not in said
    assert "Writing in Inr" in said
    section = SECTIONS.build("interventions").render(run)
    assert any(
        "Nothing is claimed of Inr where hits could not be compared with the same place in "
        "sequences without the motif" in block.text
        for block in section.blocks
        if isinstance(block, Text)
    )


def test_without_an_effect_the_report_says_so(run: Run) -> None:
    change(run, "interventions", q=0.4)
    assert intervention_sentences(run, 3) == [
        "Taking out or writing in any of 4 motifs changes what cnn says no more than control edits "
        "do, at q < 0.05."
    ]


def test_the_section_holds_every_row_and_a_picture_of_each_edit(run: Run) -> None:
    section = SECTIONS.build("interventions").render(run)
    figure = next(block for block in section.blocks if isinstance(block, Figure))
    assert "<h4>Knock-out</h4>" in figure.drawing
    assert "<h4>Knock-in</h4>" in figure.drawing
    details = next(block for block in section.blocks if isinstance(block, Details))
    assert "6,400 evaluations" in details.title  # 5 motifs, 2 edits, 640 each
    tables = [block for block in details.blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [10, 5]
    assert any("are needed" in row[-1] for row in tables[0].rows)


def test_stretches_are_counted_and_patterns_named_or_refused(run: Run) -> None:
    section = SECTIONS.build("stretches").render(run)
    counts, patterns = (block for block in section.blocks if isinstance(block, Table))
    assert [row[0] for row in counts.rows] == list(EXPLAINERS)
    assert [plain(cell) for cell in counts.rows[0][1:5]] == ["24", "100 %", "12", "7.00"]
    assert [plain(row[1]) for row in patterns.rows] == ["positive 1", "negative 1"]
    assert patterns.rows[0][5] == "GC_box"
    said = [block.text for block in section.blocks if isinstance(block, Text)]
    assert "lime: hold no hypothetical scores" in said


@pytest.mark.parametrize("name", ["interventions", "stretches"])
def test_where_nothing_was_edited_or_called_there_is_no_section(run: Run, name: str) -> None:
    for table in ("interventions", "seqlets", "patterns"):
        frame = getattr(run, table).iloc[:0]
        write_frame(run.folder / "biology" / f"{table}.parquet", frame, table)
    assert SECTIONS.build(name).render(run) is None
    assert intervention_sentences(run, 3) == []


def test_what_holds_of_several_models_is_one_sentence(run: Run) -> None:
    path = run.folder / "biology" / "interventions.parquet"
    frame = run.interventions
    other = frame.assign(model="nt", effect=frame["effect"] / 2, with_hit=frame["with_hit"] + 7)
    silent = frame.assign(model="gena", q=0.5)
    write_frame(path, pd.concat([frame, other, silent]), "interventions")
    one = [plain(sentence) for sentence in intervention_sentences(run, 9)]
    removing = next(sentence for sentence in one if sentence.startswith("Removing Inr"))
    assert removing.startswith(
        "Removing Inr (-35 to -20) lowers the log-odds of promoter of cnn by 1.80 [1.50, 2.10] and "
        "nt by 0.90 ["
    )
    assert "do (at least n = 36 sequences each, q < 0.001; the smaller" in removing
    assert one[-1].startswith("Taking out or writing in any of 4 motifs changes what gena says no")


def test_models_of_one_verdict_share_a_sentence() -> None:
    made = [
        Verdict(name, "MCC", kind, "90 test sequences", f"0.{i}", "0.5", "6-mer baseline", i / 10)
        for i, (name, kind) in enumerate(
            [("a", "better"), ("b", "worse"), ("c", "better"), ("d", "guessing")]
        )
    ]
    assert verdict_sentences(made) == [
        "The models c and a are better than counting k-mers: no interval overlaps the baseline's. "
        "On 90 test sequences c reaches MCC 0.2 and a 0.0, the 6-mer baseline 0.5.",
        f"{made[1].sentence} {made[1].numbers}",
        f"{made[3].sentence} {made[3].numbers}",
    ]
    assert len(verdict_sentences(made[:2])) == 2
