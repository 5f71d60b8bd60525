"""The sections on agreement and words: true to their tables, in words and in drawings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from basewise.report import SECTIONS
from basewise.report.agreement import agreement_sentences
from basewise.report.blocks import Details, Figure, Section, Table
from basewise.report.ranking import ranking_sentences
from basewise.store import read_frame, write_frame
from basewise.study.results import Run
from synthetic_run import make_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(make_run(tmp_path, n=12))


def change(run: Run, name: str, schema: str, rows: Any, **columns: Any) -> None:
    path = run.folder / f"{name}.parquet"
    frame = read_frame(path, schema)
    chosen = rows(frame)
    for column, value in columns.items():
        frame.loc[chosen, column] = value
    write_frame(path, frame, schema)


def render(name: str, run: Run) -> Section:
    section: Section | None = SECTIONS.build(name).render(run)
    assert section is not None
    return section


def tables(section: Section) -> Iterator[Table]:
    for block in section.blocks:
        inner = block.blocks if isinstance(block, Details) else (block,)
        yield from (b for b in inner if isinstance(b, Table))


def test_the_sentence_names_the_best_and_the_least_pair(run: Run) -> None:
    [said] = agreement_sentences(run)
    assert said.startswith("Of 6 pairs of explainers of cnn, 4 agree on the order of bases more")
    assert "integrated_gradients and kernel_shap agree best: rank correlation 0.810" in said
    assert "lime and occlusion agree least: rank correlation −0.040" in said


def test_models_under_one_explainer_are_said_so(run: Run) -> None:
    change(run, "metrics/agreement", "agreement", lambda f: f.index, within="explainer lime")
    assert "Of 6 pairs of models under lime, 4 agree" in agreement_sentences(run)[0]


def test_the_matrix_shows_every_pair_and_brackets_what_is_no_more_than_chance(run: Run) -> None:
    figure = next(b for b in render("agreement", run).blocks if isinstance(b, Figure))
    assert figure.drawing.count("<rect") == 6
    assert ">0.810<" in figure.drawing
    assert ">(0.130)<" in figure.drawing  # q = 0.4
    assert ">[0.0210; 0.0340]<" in figure.drawing
    assert figure.drawing.count("var(--c1)") == 1  # one pair contradicts itself


def test_agreement_that_other_sequences_have_too_is_not_claimed(run: Run) -> None:
    change(run, "metrics/agreement", "agreement", lambda f: f["first"] == "lime", q_others=0.3)
    change(
        run,
        "metrics/agreement",
        "agreement",
        lambda f: f["second"] == "lime",
        q_others=float("nan"),
    )
    assert "Of 6 pairs of explainers of cnn, 2 agree" in agreement_sentences(run)[0]
    figure = next(b for b in render("agreement", run).blocks if isinstance(b, Figure))
    assert figure.drawing.count(">(") == 4


def test_every_measure_is_in_the_table(run: Run) -> None:
    [table] = tables(render("agreement", run))
    assert len(table.rows) == 6 * 3
    assert table.rows[0][:4] == (
        "integrated_gradients and kernel_shap",
        "model cnn",
        "rank correlation",
        "0.810 [0.770, 0.850]",
    )


def test_tracks_without_signs_are_named(run: Run) -> None:
    def of_lime(frame: Any) -> Any:
        return (frame["first"] == "lime") | (frame["second"] == "lime")

    change(run, "metrics/agreement", "agreement", of_lime, signed=False)
    said = " ".join(b.text for b in render("agreement", run).blocks if hasattr(b, "text"))
    assert "lime never scores below 0, so with them absolute scores were compared" in said


def test_the_consensus_is_drawn_with_its_spread(run: Run) -> None:
    _, mean, single = (b for b in render("agreement", run).blocks if isinstance(b, Figure))
    assert mean.drawing.count('class="band') == 1
    median = run.consensus["spread"].map(lambda s: s.mean()).argsort().iloc[6]
    assert single.title == f"cnn, record {run.consensus['record_id'].iloc[median]}"
    letters = single.drawing.partition("consensus of")[2]
    assert letters.count("<use ") > 80  # a logo of 100 letters, few of them too small to draw
    lines = letters.partition('style="stroke:var(--ink')[0].rpartition('<path d="')[2]
    assert lines.count("v") == 100  # and through each the spread over the explainers


def test_words_are_led_by_those_beyond_chance(run: Run) -> None:
    [said] = ranking_sentences(run)
    assert said.startswith("3 k-mers of 6 are ranked high by all 4 explanations")
    assert "GGGCG, CCGCC and TATAA" in said
    first, *others = tables(render("ranking", run))
    assert first.rows[0] == ("GGGCG", "1.00", "<\N{NO-BREAK SPACE}0.001", "1–1.5", "90", "1", "1")
    *others, ratios = others
    assert len(others) == 4  # one per explainer
    assert [table.caption.partition(",")[0] for table in others] == [
        f"By {name}" for name in ("integrated_gradients", "kernel_shap", "lime", "occlusion")
    ]
    assert [row[0] for row in ratios.rows] == ["GGGCG", "CCGCC", "TATAA", "AAATT", "CAGTC"]
    assert "of the data and their labels and not of any attribution" in ratios.caption
    assert "(50.0" in ratios.caption  # of 300 occurrences, how many are in true positives
    assert others[0].columns[-2:] == ("TP", "TN")


def test_no_word_beyond_chance_and_a_single_order_are_said(run: Run) -> None:
    change(run, "rankings/combined", "combined", lambda f: f.index, q=0.3)
    assert ranking_sentences(run)[0].startswith("No k-mer of 6 is ranked high by all 4")
    change(run, "rankings/combined", "combined", lambda f: f.index, tables=1)
    assert "its own order is all there is" in ranking_sentences(run)[0]
