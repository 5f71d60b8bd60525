"""The section on controls and faithfulness: true to its tables, in words and in drawings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basewise.report import SECTIONS
from basewise.report.blocks import Bullets, Details, Figure, Section, Table
from basewise.report.controls import control_sentences, faithfulness_sentences
from basewise.store import read_frame, write_frame
from basewise.study.results import Run
from synthetic_run import EXPLAINERS, make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(make_run(tmp_path, n=12))


def change(run: Run, name: str, rows: Any, **columns: Any) -> None:
    path = run.folder / "metrics" / f"{name}.parquet"
    frame = read_frame(path, name)
    frame.loc[rows(frame), list(columns)] = list(columns.values())
    write_frame(path, frame, name)


def section(run: Run) -> Section:
    found: Section | None = SECTIONS.build("controls").render(run)
    assert found is not None
    return found


def tables(found: Section) -> Iterator[Table]:
    for block in found.blocks:
        inner = block.blocks if isinstance(block, Details) else (block,)
        yield from (b for b in inner if isinstance(b, Table))


def test_each_explainer_has_a_sentence_with_what_it_fails(run: Run) -> None:
    said = control_sentences(run)
    assert (
        said[0]
        == "integrated_gradients on cnn passes 2 of 2 controls; it owes nothing to other strand."
    )
    assert said[3] == (
        "occlusion on cnn passes 1 of 2 controls; it fails random layers; it owes nothing to other "
        "strand."
    )
    change(run, "controls", lambda f: f["control"] == "random_scores", outcome="undecided")
    assert control_sentences(run)[0].startswith(
        "integrated_gradients on cnn passes 1 of 2 controls; undecided is random scores; it owes"
    )


def test_each_control_of_each_explainer_has_a_line_with_its_threshold(run: Run) -> None:
    first = next(tables(section(run)))
    assert len(first.rows) == 3 * len(EXPLAINERS)
    assert first.rows[0] == (
        "random scores", "integrated_gradients", "pass", "2.10 [2.00, 2.20]", "above 0", "20",
    )  # fmt: skip
    assert first.rows[7][1:3] == ("occlusion", "fail")
    assert first.rows[7][4] == "−0.2 to 0.2"
    assert first.rows[8][2] == "not expected"
    reasons = [b for b in section(run).blocks if isinstance(b, Bullets)][1]
    assert len(reasons.items) == 3  # once per control, where all explainers have the same
    assert "Scores that say no more explain nothing." in reasons.items[0]


def test_stages_stand_layer_by_layer(run: Run) -> None:
    stages = next(t for t in tables(section(run)) if "top 50 % of the layers" in t.columns)
    assert len(stages.rows) == len(EXPLAINERS)
    assert stages.rows[1][1] == "0.220 [0.120, 0.320]"


def test_faithfulness_is_said_against_random_orders(run: Run) -> None:
    [said] = faithfulness_sentences(run)
    assert said.startswith("Hiding the bases that integrated_gradients names costs cnn most: 2.60 ")
    assert said.endswith("No more than random bases: occlusion.")
    figure = next(b for b in section(run).blocks if isinstance(b, Figure))
    assert figure.drawing.count('class="dot model"') == 2 * 3
    assert figure.drawing.count('class="dot muted"') == 2
    table = next(t for t in tables(section(run)) if t.rows[-1][0] == "random orders")
    assert table.columns == ("Explainer", "comprehensiveness", "deletion", "mutagenesis")
    assert table.rows[0][1] == "3.00 [2.50, 3.50]"
    assert table.rows[-1][1:] == ("0.400",) * 3
    by = list(tables(section(run)))[-1]
    assert by.columns[2:] == ("n", "shuffled", "Spread", "Random", "Upside down")
    assert by.rows[0][-3:] == ("0.300", "0.400", "−2.00")


def test_controls_without_faithfulness_are_shown_too(run: Run) -> None:
    (run.folder / "metrics" / "faithfulness.parquet").unlink()
    assert not [b for b in section(run).blocks if isinstance(b, Figure)]
    (run.folder / "metrics" / "controls.parquet").unlink()
    assert SECTIONS.build("controls").render(run) is None
