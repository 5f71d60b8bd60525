"""Every section: made of whole blocks, true to the tables, and silent where there is nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from basewise.picture.words import estimate
from basewise.report import SECTIONS
from basewise.report.as_published import as_published_sentences
from basewise.report.blocks import (
    Block,
    Callout,
    Details,
    Figure,
    Section,
    SubHeading,
    Table,
    Tiles,
)
from basewise.store import (
    read_attributions,
    read_frame,
    read_records,
    write_attributions,
    write_frame,
    write_records,
)
from basewise.study.results import Run, open_run
from synthetic_run import EXPLAINERS, MOTIFS, make_run

# The synthetic run's models read whole sequences of no genome: others have tests of their own.
OTHERS = ("bases", "conservation", "genomes")
OF_SEQUENCES = [name for name in SECTIONS.names() if name not in OTHERS]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return open_run(make_run(tmp_path_factory.mktemp("run")))


@pytest.fixture
def own(tmp_path: Path) -> Run:
    """A run that a test may change."""
    return open_run(make_run(tmp_path, n=12))


def render(name: str, run: Run) -> Section:
    section: Section | None = SECTIONS.build(name).render(run)
    assert section is not None
    return section


def walk(blocks: tuple[Block, ...]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from walk(block.blocks)
        if isinstance(block, Callout) and block.details:
            yield from walk((block.details,))


def words(section: Section) -> str:
    """Everything a section says outside its drawings."""
    said: list[str] = []
    for block in walk(section.blocks):
        for value in vars(block).values():
            if isinstance(value, str) and "<svg" not in value:
                said.append(value)
            elif isinstance(value, tuple):
                said += [item for item in value if isinstance(item, str)]
    return " ".join(said).replace("\N{NO-BREAK SPACE}", " ")


def change(run: Run, name: str, schema: str, **columns: Any) -> None:
    path = run.folder / f"{name}.parquet"
    write_frame(path, read_frame(path, schema).assign(**columns), schema)


@pytest.mark.parametrize("name", OF_SEQUENCES)
def test_every_block_is_whole(name: str, run: Run) -> None:
    section = render(name, run)
    assert section.title.strip()
    assert section.blocks
    for block in walk(section.blocks):
        if isinstance(block, Table):
            assert block.caption.endswith("."), block.caption
            assert "row" in block.caption, f"the caption does not say what a row is: {block}"
            assert block.rows
            assert {len(row) for row in block.rows} == {len(block.columns)}
        if isinstance(block, Figure):
            assert len(block.alt) > 40
            assert block.caption.endswith(".")


@pytest.mark.parametrize("name", OF_SEQUENCES)
def test_a_section_with_nothing_to_show_is_none_or_short(name: str, tmp_path: Path) -> None:
    (tmp_path / "lock.json").write_text("{}")
    section = SECTIONS.build(name).render(open_run(tmp_path))
    expected = name in ("limits", "methods", "question")  # they speak of any run
    assert (section is not None) == expected


@pytest.mark.parametrize("name", OF_SEQUENCES)
def test_tables_with_other_columns_do_not_stop_the_report(name: str, own: Run) -> None:
    strange = pd.DataFrame({"motif": ["x"], "seven": [7.0]})
    for place, schema in (
        ("biology/hits", "hits"),
        ("biology/class_enrichment", "class_enrichment"),
        ("biology/attribution_enrichment", "attribution_enrichment"),
        ("metrics/explainers", "explainer_metrics"),
        ("predictions/cnn", "predictions"),
        ("metrics/localisation", "localisation"),
        ("metrics/models", "model_metrics"),
    ):
        write_frame(own.folder / f"{place}.parquet", strange, schema)
    SECTIONS.build(name).render(own)


def test_sections_have_different_places() -> None:
    places = [SECTIONS.get(name).place for name in SECTIONS.names()]
    assert len(set(places)) == len(places)


# ---------------------------------------------------------------- the model's quality


@pytest.mark.parametrize(
    ("model", "low", "high", "verdict"),
    [
        (0.73, 0.71, 0.75, "is better than counting k-mers"),
        (0.60, 0.57, 0.63, "is not shown to be better than counting k-mers"),
        (0.57, 0.55, 0.59, "is not better than counting k-mers"),
        (0.580, 0.560, 0.601, "is not better than counting k-mers"),
        (0.03, -0.02, 0.08, "is not shown to be better than guessing, which gives MCC 0"),
    ],
)
def test_the_verdict_follows_the_intervals(
    own: Run, model: float, low: float, high: float, verdict: str
) -> None:
    frame = own.model_metrics
    ours = (frame["model"] == "cnn") & (frame["metric"] == "mcc")
    numbers = dict(zip(("value", "low", "high"), (model, low, high), strict=True))
    for column, value in numbers.items():
        frame.loc[ours, column] = value
    write_frame(own.folder / "metrics" / "models.parquet", frame, "model_metrics")
    said = words(render("quality", own))
    assert f"The model cnn {verdict}" in said
    assert estimate(model, low, high) in said
    assert "0.580 [0.560, 0.600]" in said  # the baseline
    first = render("question", own)
    answer = next(b for b in first.blocks if isinstance(b, Callout))
    assert verdict in answer.items[0]


def test_a_model_that_is_not_better_is_said_first_and_again_in_the_limits(tmp_path: Path) -> None:
    poor = open_run(make_run(tmp_path, n=12, better=False))
    answer = next(b for b in render("question", poor).blocks if isinstance(b, Callout))
    assert answer.tone == "warning"
    assert "not better than counting k-mers" in answer.items[0]
    assert "not better than counting k-mers" in words(render("limits", poor))
    assert isinstance(render("quality", poor).blocks[0], Callout)


def test_a_run_without_a_baseline_says_so(own: Run) -> None:
    frame = own.model_metrics
    write_frame(
        own.folder / "metrics" / "models.parquet", frame[frame["kind"] == "model"], "model_metrics"
    )
    assert "has no baseline beside it" in words(render("quality", own))


def test_the_table_of_confusions_counts_the_predictions(run: Run) -> None:
    frame = run.predictions("cnn")
    table = next(
        b for b in render("quality", run).blocks if isinstance(b, Table) and "confuses" in b.caption
    )
    wrong = ((frame["label"] == "promoter") & (frame["predicted"] == "background")).sum()
    row = next(row for row in table.rows if row[0] == "promoter")
    assert table.columns == ("Label", "predicted background", "predicted promoter", "all")
    assert row == ("promoter", str(wrong), str(20 - wrong), "20")


def test_the_table_of_models_says_what_each_is_and_how_long_it_learned(own: Run) -> None:
    table = next(b for b in render("quality", own).blocks if isinstance(b, Table))
    assert table.columns == ("Measure", "cnn", "6-mer baseline", "Meaning")
    assert list(table.rows)[:5] == [
        ("Architecture", "convolutions", "logistic regression", ""),
        ("Tokens", "bases, 6", "–", "what it reads; size of the vocabulary"),
        ("Training", "4.5 min", "–", "time, on 2 threads of the CPU"),
        ("Sequences", "5,920", "5,920", "judged"),
        ("Parameters", "180,354", "4,097", "numbers learned"),
    ]
    (own.folder / "metrics" / "training" / "cnn.json").unlink()
    table = next(b for b in render("quality", own).blocks if isinstance(b, Table))
    assert table.rows[0][0] == "Sequences"


def test_problems_of_the_files_are_shown(run: Run) -> None:
    table = next(b for b in render("question", run).blocks if isinstance(b, Table))
    assert "3 × contradictory label" in table.rows[0]
    assert "contradictory label kept" in table.caption


# ---------------------------------------------------------------- attributions


def figures(section: Section) -> list[Figure]:
    return [block for block in walk(section.blocks) if isinstance(block, Figure)]


def test_examples_are_the_most_confident_of_each_kind(run: Run) -> None:
    frame = run.predictions("cnn")
    promoter, called = frame["label"] == "promoter", frame["predicted"] == "promoter"
    p = frame["p:promoter"]
    typical = frame[promoter & called].sort_values("p:promoter", ascending=False)["record_id"]
    best = {
        "True positive, the most confident": frame.loc[p[promoter & called].idxmax(), "record_id"],
        "True positive, typical": typical.iloc[len(typical) // 2],
        "False positive, the most confident": frame.loc[
            p[~promoter & called].idxmax(), "record_id"
        ],
        "False negative, the most confident": frame.loc[
            p[promoter & ~called].idxmin(), "record_id"
        ],
        "True negative, the most confident": frame.loc[
            p[~promoter & ~called].idxmin(), "record_id"
        ],
    }
    titles = [figure.title for figure in figures(render("attributions", run))]
    assert titles[:5] == [f"{kind}: {id}" for kind, id in best.items()]


def test_kinds_of_records_that_do_not_occur_are_named(own: Run) -> None:
    frame = own.predictions("cnn")
    change(own, "predictions/cnn", "predictions", predicted=frame["label"])
    section = render("attributions", own)
    assert "(no explained record is a false positive or a false negative)" in words(section)
    assert len(figures(section)) == 4  # three logos and the profiles


def test_a_logo_stacks_every_explainer_and_marks_what_is_known(run: Run) -> None:
    first = figures(render("attributions", run))[0]
    for name in (*EXPLAINERS, *MOTIFS, "TSS"):
        assert f">{name}<" in first.drawing
    assert "Letters show positions −" in first.caption
    assert "of 120 bases" in first.caption


def test_marks_are_explained_only_where_there_are_any(own: Run) -> None:
    said = words(render("attributions", own))
    assert "Yellow: stretches planted" in said
    assert "Brackets: motifs of the panel" in said
    path = own.folder / "data" / "explained.parquet"
    write_records(path, [replace(record, truth=()) for record in read_records(path)])
    write_frame(own.folder / "biology" / "hits.parquet", own.hits.iloc[:0], "hits")
    said = words(render("attributions", own))
    assert "Yellow" not in said
    assert "Brackets" not in said


def test_profiles_are_the_means_over_the_records_of_a_predicted_class(run: Run) -> None:
    from basewise.report.attributions import _read

    frame = run.predictions("cnn")
    told = _read(run, "cnn", frame, [])["occlusion"]
    called = dict(zip(frame["record_id"], frame["predicted"], strict=True))
    found = run.attributions("cnn", "occlusion")
    for label in ("promoter", "background"):
        tracks = np.stack([a.per_base() for a in found if called[a.record_id] == label])
        curve = told.tallies[label].curve(label)
        assert curve.name == f"{label} (n = {len(tracks)})"
        assert curve.mean == pytest.approx(tracks.mean(0))
        error = tracks.std(0, ddof=1) / np.sqrt(len(tracks))
        assert curve.high - curve.mean == pytest.approx(1.96 * error, abs=1e-9)
        assert curve.mean - curve.low == pytest.approx(1.96 * error, abs=1e-9)


def test_records_of_different_lengths_get_no_profile(own: Run) -> None:
    from dataclasses import replace

    from basewise.store import read_attributions, write_attributions

    for path in own.folder.glob("attributions/cnn/*/part-00000.parquet"):
        found = read_attributions(path)
        keep = found[0].spans[:, 1] <= 100
        short = replace(
            found[0],
            sequence=found[0].sequence[:100],
            spans=found[0].spans[keep],
            scores=found[0].scores[keep],
        )
        write_attributions(path, [short, *found[1:]])
    assert "The records differ in length" in words(render("attributions", own))


# ---------------------------------------------------------------- localisation, biology


def test_an_explainer_at_chance_is_named(own: Run) -> None:
    frame = own.localisation
    weak = (frame["explainer"] == "lime") & (frame["metric"] == "auprc")
    frame.loc[weak, ["value", "low", "high"]] = (0.18, 0.14, 0.22)
    write_frame(own.folder / "metrics" / "localisation.parquet", frame, "localisation")
    said = words(render("localisation", own))
    assert "integrated_gradients found the planted bases best: AUPRC 0.870 [0.830, 0.910]" in said
    assert "chance gives 0.170. Not beyond chance: lime." in said


def test_explainers_without_a_score_are_not_called_the_best(own: Run) -> None:
    frame = own.localisation
    frame[["value", "low", "high", "chance"]] = np.nan
    write_frame(own.folder / "metrics" / "localisation.parquet", frame, "localisation")
    said = words(render("localisation", own))
    assert "best:" not in said
    assert "No explainer of cnn gave a score to any planted base." in said


def test_a_large_q_against_shuffles_is_no_proof_of_absence(own: Run) -> None:
    frame = own.class_enrichment
    frame.loc[frame["null"] == "dinucleotide shuffles", "q"] = 0.3
    write_frame(own.folder / "biology" / "class_enrichment.parquet", frame, "class_enrichment")
    said = words(render("biology", own))
    assert "not shown to be more or less frequent than its dinucleotides" in said
    assert "is no more frequent" not in said


def test_a_motif_claim_holds_against_every_null(own: Run) -> None:
    said = words(render("biology", own))
    assert "GC_box (−35 to −20): 4 of 4 explainers of cnn give its hits more attribution" in said
    assert "TATA (−35 to −20): 4 of 4 explainers of cnn give its hits less attribution" in said
    frame = own.attribution_enrichment
    one_null = (frame["motif"] == "GC_box") & (frame["null"] == "same position")
    frame.loc[one_null & (frame["explainer"] != "lime"), "q"] = 0.2
    frame.loc[(frame["motif"] == "TATA") & (frame["null"] == "same sequence"), "effect"] *= -1
    write_frame(
        own.folder / "biology" / "attribution_enrichment.parquet", frame, "attribution_enrichment"
    )
    said = words(render("biology", own))
    assert "GC_box (−35 to −20): 1 of 4 explainers of cnn gives its hits more" in said
    assert "TATA (−35 to −20): 4 of 4 explainers" not in said


def test_a_null_that_could_not_be_tested_is_named(own: Run) -> None:
    frame = own.attribution_enrichment
    frame.loc[frame["null"] == "same position", ["effect", "low", "high", "q"]] = np.nan
    write_frame(
        own.folder / "biology" / "attribution_enrichment.parquet", frame, "attribution_enrichment"
    )
    said = words(render("biology", own))
    assert "explainers of cnn give its hits" not in said
    assert (
        "Nothing is claimed of GC_box, Inr and TATA where hits could not be compared with the same "
        "place in sequences without the motif: what differs from the rest may do so by its place "
        "alone." in said
    )


def test_classes_too_small_for_a_comparison_are_named(own: Run) -> None:
    path = own.folder / "data" / "summary.json"
    summary = json.loads(path.read_text())
    summary["test"]["labels"] = {"promoter": 31, "background": 9}
    path.write_text(json.dumps(summary))
    left = "Left out, because a comparison needs at least 10 test records: {}."
    assert left.format("background (9 records)") in words(render("biology", own))
    summary["test"]["labels"] = {"promoter": 31, "background": 10}
    path.write_text(json.dumps(summary))
    assert "Left out" not in words(render("biology", own))


def test_motifs_without_a_result_are_named(own: Run) -> None:
    assert "Without a result for" not in words(render("biology", own))
    frame = own.attribution_enrichment
    none = {"effect": np.nan, "low": np.nan, "high": np.nan, "reason": "too few"}
    frame.loc[frame["motif"] == "DPE", list(none)] = list(none.values())
    name = "attribution_enrichment"
    write_frame(own.folder / "biology" / f"{name}.parquet", frame, name)
    assert "Without a result for DPE, mostly because" in words(render("biology", own))


def test_an_odds_ratio_of_zero_is_drawn_off_the_axis(own: Run) -> None:
    frame = own.class_enrichment
    frame.loc[frame["motif"] == "DPE", ["effect", "low", "high"]] = (0.0, 0.0, 3.4)
    write_frame(own.folder / "biology" / "class_enrichment.parquet", frame, "class_enrichment")
    first = next(f for f in figures(render("biology", own)) if "odds ratio" in f.drawing)
    assert first.drawing.count("◂") == 2  # once per null
    assert first.drawing.count("<circle") == 6


def test_panels_of_explainers_share_one_axis(run: Run) -> None:
    drawing = figures(render("biology", run))[1].drawing
    axes = re.findall(r'<svg class="cell axis".*?</svg>', drawing)
    assert len(axes) == len(EXPLAINERS)
    assert len(set(axes)) == 1


def test_a_model_without_any_result_is_said(own: Run) -> None:
    frame = own.attribution_enrichment
    other = frame.assign(model="lstm", effect=np.nan, low=np.nan, high=np.nan, q=np.nan)
    write_frame(
        own.folder / "biology" / "attribution_enrichment.parquet",
        pd.concat([frame, other]),
        "attribution_enrichment",
    )
    section = render("biology", own)
    titles = [figure.title for figure in figures(section)]
    assert titles[1:] == ["Model cnn", "Model lstm"]
    assert "No motif has a result" in figures(section)[2].drawing


def test_several_models_are_told_apart_and_the_number_of_logos_is_bounded(own: Run) -> None:
    lock = json.loads((own.folder / "lock.json").read_text())
    models = ["cnn", "two", "three", "four"]
    lock["models"] = {name: {"type": "cnn"} for name in models}
    lock["places"] = {
        f"{model}/{name}": lock["places"][f"cnn/{name}"] for model in models for name in EXPLAINERS
    }
    (own.folder / "lock.json").write_text(json.dumps(lock))
    for model in models[1:]:
        write_frame(
            own.folder / "predictions" / f"{model}.parquet", own.predictions("cnn"), "predictions"
        )
    section = render("attributions", own)
    headings = [block.text for block in section.blocks if isinstance(block, SubHeading)]
    assert [text for text in headings if "Model" in text] == [f"Model {name}" for name in models]
    logos = [figure for figure in figures(section) if 'class="logo"' in figure.drawing]
    assert sum(figure.drawing.count("baseline") for figure in logos) == 4 * 3 * 4
    assert words(section).count("The page holds 15 logos of a model at most.") == 4
    profiles = [figure for figure in figures(section) if 'class="profile"' in figure.drawing]
    assert len(profiles) == len(models)


def test_nothing_found_is_said(own: Run) -> None:
    change(own, "biology/attribution_enrichment", "attribution_enrichment", q=0.4)
    change(own, "biology/class_enrichment", "class_enrichment", q=0.4)
    said = words(render("biology", own))
    assert "None of 4 motifs tells the classes apart at q < 0.05." in said
    assert "For none of 4 motifs does any explainer of cnn give the hits more or less" in said


def test_class_sentences_give_shares_effect_interval_q_and_n(run: Run) -> None:
    said = words(render("biology", run))
    assert (
        "TATA (−35 to −20) is less frequent in promoter than in the other sequences: 23.0 % "
        "against 52.7 %, odds ratio 0.268 [0.240, 0.300], q < 0.001, n = 2,960 and 2,960." in said
    )
    tables = [block for block in walk(render("biology", run).blocks) if isinstance(block, Table)]
    reasons = [row[-1] for row in tables[0].rows]
    assert tables[0].columns[-1] == "No result"
    assert reasons == ["", "", "", "", "no sequence has a hit"]


# ---------------------------------------------------------------- audit, limits, methods


def test_warnings_come_first_and_return_in_the_limits(run: Run) -> None:
    section = render("audit", run)
    said = words(section)
    assert (
        "The audit asked 3 questions of the data and raised 1 error and 1 warning. The error: "
        "“Negatives are built from blocks of positives”. An error means" in said
    )
    tones = [block.tone for block in section.blocks if isinstance(block, Callout)]
    assert tones == ["error", "warning"]
    limits = words(render("limits", run))
    assert "Negatives keep 8 of 20 aligned blocks" in limits
    assert "42 of 5,920 test sequences" in limits
    assert "not biology" in limits
    assert "true-positive ratio" in limits


def test_a_published_reading_is_contradicted_by_its_own_numbers(run: Run) -> None:
    said = " ".join(as_published_sentences(run)).replace("\N{NO-BREAK SPACE}", " ")
    assert said in words(render("as_published", run))
    for sentence in (
        "Of 40 top tokens with TATA in promoter sequences, lime of cnn gives 30 a positive score "
        "(75.0 %); for the other class it is 10 (25.0 %).",
        "Kernel_shap and lime of cnn agree in the sign of 32 of 36 tokens that both have among "
        "the top; had one of them explained the other class, in 4.",
        "TATA stands in 23.0 % of promoter sequences and in 52.7 % of the others, odds ratio "
        "0.268 [0.240, 0.300]: in these data the letters mark the others",
        "TATAWAW at −35 to −20 of the start site: 2.50 % against 1.70 %, odds ratio 1.48",
        "in 1 of 1 explanation tokens with TATA are not shown to be among the top 10 more often",
        "published with 81 sequences that have such a token among the top; by position it is 90 "
        "occurrences, and chance gives 96.0",
        "2 majorities of signs of TATA tokens (of one class, in one explanation) cannot be said of "
        "TATAWAW at −35 to −20",
        "give 400 of 4,640 tokens in lime of cnn the score of a later one of the same letters; 120 "
        "would change sign",
        "hold it whole in 40 (50.0 %)",
        "in the median: anchors of cnn coverage 25.0 % (from 12.5 % to 50.0 %) and precision",
    ):
        assert sentence in said


def test_methods_hold_every_setting_version_hash_and_place(run: Run) -> None:
    lock = json.loads((run.folder / "lock.json").read_text())
    tables = [b for b in walk(render("methods", run).blocks) if isinstance(b, Table)]
    cells = " ".join(cell for table in tables for row in table.rows for cell in row)
    for value in (*lock["versions"].values(), *lock["hashes"].values(), *lock["places"].values()):
        assert value in cells
    assert "schedule.epochs&nbsp;=&nbsp;8" in cells
    assert "masking.type&nbsp;=&nbsp;n" in cells
    assert "seed 7" in words(render("methods", run))


def test_the_best_and_the_least_good_of_several_models_stand_on_top(own: Run) -> None:
    frame = own.model_metrics
    others = [frame[frame["model"] == "cnn"].assign(model=n) for n in ("best", "middle", "least")]
    for other, change in zip(others, (0.1, -0.01, -0.02), strict=True):
        other[["value", "low", "high"]] += change
    write_frame(
        own.folder / "metrics" / "models.parquet", pd.concat([frame, *others]), "model_metrics"
    )
    [tiles] = [block for block in render("question", own).blocks if isinstance(block, Tiles)]
    assert [tile.what.rpartition(" ")[2] for tile in tiles.tiles[:2]] == ["best", "least"]


def test_rules_have_their_own_unit(own: Run) -> None:
    place = next((own.folder / own.lock["places"]["cnn/lime"]).glob("part-*.parquet"))
    write_attributions(place, [replace(a, kind="rule") for a in read_attributions(place)])
    drawings = [f.drawing for f in figures(render("attributions", own))]
    assert sum(drawing.count("share of the rule") for drawing in drawings) == 1


def test_the_element_that_was_asked_about_is_in_the_short_answer(own: Run) -> None:
    said = words(render("question", own))
    assert (
        "TATAWAW in background and promoter sequences, by 1 explanation of each (models by "
        "explainers): no difference from both nulls is shown in 1."
    ) in said
    assert "Writing in TATA" in said.replace("\N{MINUS SIGN}", "-")


def test_dependence_on_the_reference_is_shown_where_there_were_several(own: Run) -> None:
    [row] = next(
        block.rows
        for block in render("methods", own).blocks
        if isinstance(block, Table) and "averages over several references" in block.caption
    )
    said = " ".join(map(str, row)).replace("\N{NO-BREAK SPACE}", " ")
    assert said == "integrated_gradients cnn 10 0.710 0.420 70.0 % 90.0 % 0.330 25.0 % of 40"
    (flagged,) = [
        block for block in render("methods", own).blocks
        if isinstance(block, Details) and "story changes" in block.title
    ]  # fmt: skip
    assert flagged.title.endswith("reference: 2")
    assert [row[0] for row in flagged.blocks[0].rows] == ["test-0003", "test-0002"]
    none = own.references.iloc[:0]
    write_frame(own.folder / "metrics" / "references.parquet", none, "references")
    assert "depend on their reference" not in words(render("methods", own))
