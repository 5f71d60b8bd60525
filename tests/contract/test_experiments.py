"""An experiment: every cell once, the gate, what resumes, and the page."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from basewise.cli import app as cli
from basewise.errors import ConfigError, ShardError, StoreError
from basewise.report.experiment import _refused, write_experiment_report
from basewise.study.cell import CEILING, ROWS
from basewise.study.datasets import Grammar
from basewise.study.experiment import experiment_from, load_experiment
from basewise.study.experiment_plan import _Steps, _training, plan_experiment
from basewise.study.experiments import (
    ALL,
    SUMMARY,
    ExperimentRun,
    difference,
    progress_of_experiment,
    run_experiment,
    summarise_experiment,
)
from basewise.study.which import holds_experiment, is_experiment

TABLES = {
    "experiment": {"name": "tiny", "seeds": [3, 4], "explained": 5, "ceiling": 3, "gate": 0.8},
    "data": {"train": 200, "dev": 60, "test": 80, "grammar": {"length": 40, "motif": "ACGTTGCA"}},
    "factors": {
        "jitter": {"grid": {"jitter": [0, 6]}},
        "copies": {
            "slots": 4,
            "grid": {"copies": [2]},
            "explained": 4,
            "explainers": {"integrated_gradients": {"steps": 4}},
        },
    },
    "models": {
        "cnn": {
            "type": "cnn",
            "network": {
                "channels": 16,
                "stem_kernel": 9,
                "dilations": [1],
                "positions": 0,
                "hidden": 8,
                "dropout": 0.0,
                "head_dropout": 0.0,
            },
            "training": {"epochs": 12, "batch_size": 16, "learning_rate": 1e-2, "patience": 2},
        },
        # Cannot learn anything at this rate, so the gate has something to stop.
        "dull": {
            "type": "cnn",
            "network": {"channels": 2, "stem_kernel": 3, "dilations": [], "positions": 0},
            "training": {"epochs": 1, "batch_size": 200, "learning_rate": 1e-9},
        },
    },
    "explainers": {
        "saliency": {},
        "integrated_gradients": {
            "steps": 2,
            "tolerance": None,
            "grid": {"reference": ["zero", "uniform"]},
        },
        "both": {"type": "integrated_gradients", "steps": 2, "tolerance": 0.5,
                 "most_steps": 4, "reference": ["zero", "uniform"]},
        "occlusion": {"units": "bases", "masking": "n"},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> ExperimentRun:
    folder = tmp_path_factory.mktemp("experiment") / "tiny"
    return run_experiment(experiment_from(TABLES), folder, backend="local")


def test_every_combination_has_its_rows(run):
    rows = run.records
    assert tuple(rows.columns) == ROWS
    keys = ["model", "factor", "level", "seed", "explainer"]
    assert len(rows[keys].drop_duplicates()) == 3 * 3 * 2 * 5  # the ceiling is a model too
    solved = rows[rows["model"] == "cnn"]
    assert solved["solved"].all()
    assert set(solved.groupby(["factor", "level", "seed", "explainer"]).size()) == {4, 5}
    assert solved["auprc"].notna().all()
    assert set(rows.loc[rows["model"] == "cnn", "tokenizer"]) == {"nucleotide"}
    assert set(rows["reference"]) == {"", "zero", "uniform", "zero + uniform", "n"}


def test_models_below_the_gate_are_marked_and_not_averaged(run):
    rows = run.records[run.records["model"] == "dull"]
    assert not rows["solved"].any()
    assert rows["auprc"].isna().all()
    assert rows["auroc"].notna().all()
    assert (rows["auroc"] - 0.5 < 0.8 * (rows["ceiling"] - 0.5)).all()
    summary = run.summary[run.summary["model"] == "dull"]
    assert set(summary["n"]) == {0}
    assert set(summary["seeds"]) == {0}
    assert set(summary["of_seeds"]) == {2}
    assert summary["value"].isna().all()


def test_the_ceiling_knows_the_task_and_refuses_gradients(run):
    rows = run.records[run.records["model"] == CEILING]
    assert (rows["auroc"] > 0.99).all()
    refused = set(rows.loc[rows["refused"] != "", "explainer"])
    assert refused == {
        "saliency", "integrated_gradients-referencezero", "integrated_gradients-referenceuniform",
        "both",
    }  # fmt: skip
    own = rows[rows["explainer"] == "occlusion"]
    jitter = own[(own["factor"] == "jitter") & (own["level"] == "0")]
    # Every base of the only motif takes all the evidence with it, and no other base any.
    assert jitter["auprc"].to_numpy() == pytest.approx(np.ones(6))


def test_means_are_those_of_the_rows(run):
    summary = run.summary
    assert tuple(summary.columns) == SUMMARY
    rows = run.records[(run.records["model"] == "cnn") & (run.records["explainer"] == "occlusion")]
    (row,) = summary[
        (summary["model"] == "cnn")
        & (summary["explainer"] == "occlusion")
        & (summary["factor"] == "jitter")
        & (summary["level"] == ALL)
        & (summary["metric"] == "mass_inside")
    ].itertuples()
    own = rows[rows["factor"] == "jitter"]
    assert row.value == pytest.approx(own["mass_inside"].mean())
    assert row.chance == pytest.approx(8 / 40)
    assert (row.n, row.seeds, row.of_seeds) == (20, 2, 2)
    means = own.groupby("seed")["mass_inside"].mean()
    assert (row.lowest_seed, row.highest_seed) == pytest.approx((means.min(), means.max()))
    assert row.low < row.value < row.high


def test_only_solved_seeds_count(run):
    rows = run.records[(run.records["model"] == "cnn") & (run.records["factor"] == "jitter")]
    half = rows.assign(solved=rows["seed"] == 3)
    found = summarise_experiment(half)
    one = found[(found["explainer"] == "occlusion") & (found["level"] == "0")]
    row = one[one["metric"] == "auprc"].iloc[0]
    own = rows[(rows["explainer"] == "occlusion") & (rows["level"] == "0") & (rows["seed"] == 3)]
    assert row["value"] == pytest.approx(own["auprc"].mean())
    assert (row["n"], row["seeds"], row["of_seeds"]) == (5, 1, 2)


def test_intervals_are_over_seeds_where_there_are_several(run):
    rows = run.records[run.records["model"] == "cnn"]
    key = {"explainer": "occlusion", "factor": "jitter", "level": "6", "metric": "mass_inside"}

    def estimate(table):
        found = summarise_experiment(table)
        (row,) = found[(found[list(key)] == pd.Series(key)).all(axis=1)].itertuples()
        return row

    both, one = estimate(rows), estimate(rows[rows["seed"] == 3])
    own = rows[(rows["explainer"] == "occlusion") & (rows["level"] == "6")]
    a, b = own.groupby("seed")["mass_inside"].mean()
    half = 12.7062 * abs(a - b) / 2  # Student's t of one degree; deviation of two is |a - b| / 2^.5
    assert both.value == pytest.approx((a + b) / 2)
    assert both.low == pytest.approx(max((a + b) / 2 - half, 0), abs=1e-5)
    assert both.high == pytest.approx(min((a + b) / 2 + half, 1), abs=1e-5)
    values = own.loc[own["seed"] == 3, "mass_inside"]
    assert values.min() <= one.low < one.value < one.high <= values.max()
    # What seeds differ by does not get smaller with more records of each.
    many = estimate(pd.concat([rows] * 10))
    assert (many.low, many.high) == pytest.approx((both.low, both.high))
    assert many.n == 10 * both.n


def test_a_seed_with_more_records_counts_as_any_other(run):
    rows = run.records[(run.records["model"] == "cnn") & (run.records["explainer"] == "occlusion")]
    rows = rows[(rows["factor"] == "jitter") & (rows["level"] == "6")]
    values = rows.assign(auprc=rows["seed"].map({3: 0.4, 4: 0.8}), auprc_chance=rows["seed"] / 10)
    twice = pd.concat([values, values[values["seed"] == 3]])
    found = summarise_experiment(twice)
    row = found[(found["level"] == "6") & (found["metric"] == "auprc")].iloc[0]
    assert (row["value"], row["chance"], row["n"]) == (pytest.approx(0.6), pytest.approx(0.35), 15)
    assert (row["low"], row["high"]) == (0, 1)  # no share is beyond


def test_explainers_differ_on_the_same_records_and_networks(run):
    """What a seed adds to both cancels: two seeds that are far apart differ by 0.1 and 0.3."""
    rows = run.records[(run.records["model"] == "cnn") & (run.records["factor"] == "jitter")]
    rows = rows[(rows["level"] == "6") & rows["explainer"].isin(["occlusion", "both"])]
    better = np.where(rows["seed"] == 3, 0.1, 0.3) * (rows["explainer"] == "occlusion")
    rows = rows.assign(auprc=rows["seed"].map({3: 0.1, 4: 0.6}) + better)
    found = difference(rows, "occlusion", "both")
    (row,) = found.itertuples()
    assert (row.factor, row.level, row.model, row.n, row.seeds) == ("jitter", "6", "cnn", 10, 2)
    assert row.value == pytest.approx(0.2)
    assert row.high - row.value == pytest.approx(12.7062 * 0.1, rel=1e-4)
    assert difference(rows, "both", "occlusion")["value"].tolist() == pytest.approx([-0.2])
    with pytest.raises(ConfigError, match=r"explainer 'shap' is not in this experiment"):
        difference(rows, "occlusion", "shap")
    with pytest.raises(ConfigError, match=r"metric = 'ap'; allowed are auprc, mass_inside"):
        difference(rows, "occlusion", "both", "ap")


def test_references_are_compared(run):
    rows = run.records
    own = rows[(rows["explainer"] == "both") & rows["solved"] & (rows["refused"] == "")]
    assert own["lowest_rank_correlation"].between(-1, 1).all()
    assert set(own["changes"]) <= {0.0, 1.0}
    assert rows.loc[rows["explainer"] == "occlusion", "changes"].isna().all()


def test_a_factor_may_change_explainers_and_records(run):
    cells = [cell for cell in run.experiment.cells() if cell.factor == "copies"]
    assert {cell.explained for cell in cells if cell.model == "cnn"} == {4}
    assert {cell.explained for cell in cells if cell.model == CEILING} == {3}
    for name in ("integrated_gradients-referencezero", "integrated_gradients-referenceuniform"):
        assert {cell.explainers[name]["steps"] for cell in cells} == {4}
    assert {cell.explainers["both"]["steps"] for cell in cells} == {2}


def test_a_model_may_have_only_some_factors():
    dull = TABLES["models"]["dull"] | {"factors": ["jitter"]}
    found = experiment_from(TABLES | {"models": TABLES["models"] | {"dull": dull}}).cells()
    assert {cell.factor for cell in found if cell.model == "dull"} == {"jitter"}
    assert {cell.factor for cell in found if cell.model == "cnn"} == {"jitter", "copies"}


def test_what_is_done_is_kept_and_what_changed_is_made_again(run):
    times = {p: p.stat().st_mtime_ns for p in run.folder.rglob("rows.parquet")}
    again = run_experiment(run.experiment, run.folder, backend="local")
    assert {p: p.stat().st_mtime_ns for p in again.folder.rglob("rows.parquet")} == times
    pd.testing.assert_frame_equal(again.records, run.records)
    first = next(iter(times))
    content = first.read_bytes()
    first.unlink()
    run_experiment(run.experiment, run.folder, backend="local")
    assert first.read_bytes() == content
    names = {cell.name for cell in run.experiment.cells()}
    other = experiment_from(TABLES | {"experiment": TABLES["experiment"] | {"seeds": [3]}})
    assert {cell.name for cell in other.cells()} < names
    changed = experiment_from(TABLES | {"experiment": TABLES["experiment"] | {"gate": 0.7}})
    assert not {cell.name for cell in changed.cells()} & names


def test_the_page_holds_every_factor_and_no_broken_number(run):
    page = write_experiment_report(run.folder)
    text = page.read_text(encoding="utf-8")
    for said in ("Jitter", "Copies", "below the gate", "least rank correlation", "0.25"):
        assert said in text
    assert "nan" not in re.sub(r"<[^>]+>", " ", text).lower().split()
    drawn = {path.stem for path in (run.folder / "figures").glob("*.svg")}
    assert {
        "overview-cnn-auprc",
        "overview-ceiling-auprc",
        "jitter-auprc",
        "jitter-boxes-cnn",
        "jitter-logo-1",
        "copies-auprc",
    } <= drawn
    assert write_experiment_report(run.folder).read_text(encoding="utf-8") == text


def test_a_report_of_nothing_is_refused(run, tmp_path):
    (tmp_path / "lock.json").write_bytes((run.folder / "lock.json").read_bytes())
    with pytest.raises(StoreError, match="has no finished cell to report on; run it first"):
        write_experiment_report(tmp_path)
    assert not (tmp_path / "report").exists()


def test_what_was_refused_in_one_factor_is_not_told_of_all():
    class Found:
        records = pd.DataFrame(
            [
                ("cnn", "deep_lift", "rule", "", True),
                ("cnn", "deep_lift", "probability", "no rule", True),
                ("ceiling", "deep_lift", "rule", "no gradient", True),
                ("ceiling", "deep_lift", "probability", "no gradient", True),
                ("cnn", "lime", "rule", "", True),
            ],
            columns=["model", "explainer", "factor", "refused", "solved"],
        )

    assert _refused(Found()) == [
        ("deep lift", "cnn", "probability", "no rule"),
        ("deep lift", "ceiling", "all", "no gradient"),
    ]


def test_status_and_plan_count_cells(run):
    said = "\n".join(progress_of_experiment(run))
    assert "cnn, jitter: 4 of 4 cells" in said
    assert "dull, copies: 2 of 2 cells" in said
    plan = "\n".join(plan_experiment(run.experiment))
    assert "jitter: jitter 0, jitter 6" in plan
    assert "18 cells: 3 levels, 2 seeds, cnn, dull and the ceiling" in plan
    assert re.search(r"12 models to train, at most [\d,]+ evaluations", plan)


def test_time_memory_and_disk_are_expected(run):
    seen = []
    lines = plan_experiment(run.experiment, lambda *at: seen.append(at))
    assert seen == [(0, 3, "ceiling, 40 bases"), (1, 3, "cnn, 40 bases"), (2, 3, "dull, 40 bases")]
    time_said, memory, disk, words = lines[-4:]
    number, unit = re.fullmatch(
        r"time: about ([\d.]+) (s|min) with one worker.*\(training at most .*, explaining .*, "
        r"sequences and ceilings .*\)", time_said,
    ).groups()  # fmt: skip
    expected = float(number) * (60 if unit == "min" else 1)
    # What the cells took, by their log; with room for a busy machine.
    log = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    times = [datetime.fromisoformat(line["time"]) for line in log]
    took = (times[[line["event"] for line in log].index("complete")] - times[0]).total_seconds()
    assert took / 10 < expected < 10 * took + 5, (expected, took)
    assert re.fullmatch(r"memory: about [\d.,]+ [MG]B for each worker, .*", memory)
    kilobytes = {"kB": 1, "MB": 1e3}
    number, unit = re.fullmatch(r"disk: about ([\d.]+) (kB|MB), and the report.*", disk).groups()
    kept = sum(path.stat().st_size for path in (run.folder / "cells").rglob("*.parquet")) / 1e3
    assert 0.5 * kept < float(number) * kilobytes[unit] < 3 * kept
    assert "half or twice" in words


def test_steps_of_training_are_timed_from_the_second_on(monkeypatch):
    steps, now = _Steps(), iter([100.0, 100.5, 101.0, 101.6])
    monkeypatch.setattr("basewise.study.experiment_plan.time.perf_counter", lambda: next(now))
    assert steps.seconds == 0
    for done in range(4):
        steps(done + 1, 40, "")
    assert steps.seconds == pytest.approx(0.5 * 40)


def test_every_stage_of_training_is_counted(monkeypatch, tmp_path):
    monkeypatch.setattr(_Steps, "seconds", 1000.0)  # of the first stage
    training = {"epochs": 1, "batch_size": 16}
    for stages, expected in (([], 1000), ([{"epochs": 2}, {"epochs": 5}], 3500)):
        model = {"type": "cnn", "network": {"channels": 4}, "training": training, "stages": stages}
        cell = next(
            each
            for each in experiment_from(TABLES | {"models": {"staged": model}}).cells()
            if each.source is not None
        )
        train, dev, test = cell.splits()
        folder = tmp_path / str(expected)
        model = cell.untrained(train, folder / "fresh")
        assert _training(cell, model, train, dev, test, folder) == pytest.approx(expected, rel=0.1)
    steps = _Steps()
    for done, whole in ((1, 6), (6, 6), (1, 15)):
        steps(done, whole, "")
    assert steps._whole == 6


def test_what_an_explainer_refuses_is_said_before_anything_is_trained(tmp_path):
    wrong = TABLES | {
        "explainers": {"leverage_shap": {"units": "bases", "evaluations": 3}},
        "factors": {"jitter": {"grid": {"jitter": [0]}}},
    }
    said = r"\[explainers.leverage_shap\] in the factor jitter: .*evaluations = 3 is too few"
    with pytest.raises(ConfigError, match=said):
        plan_experiment(experiment_from(wrong))
    with pytest.raises(ConfigError, match=said):
        run_experiment(experiment_from(wrong), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("training"))


def test_a_cell_that_fails_is_told_and_tried_again(tmp_path, monkeypatch):
    small = experiment_from(
        TABLES
        | {
            "experiment": TABLES["experiment"] | {"seeds": [3]},
            "factors": {"jitter": {"grid": {"jitter": [0]}}},
            "explainers": {"random": {}},
            "models": {"dull": TABLES["models"]["dull"]},
        }
    )
    splits = Grammar.splits
    monkeypatch.setattr(Grammar, "splits", lambda *_: 1 / 0)
    monkeypatch.setattr("basewise.study.distribute.WAIT", 0.0)
    with pytest.raises(ShardError, match=r"2 of 2 cells failed.*ZeroDivisionError.*again"):
        run_experiment(small, tmp_path / "run", backend="local")
    monkeypatch.setattr(Grammar, "splits", splits)
    assert len(run_experiment(small, tmp_path / "run", backend="local").records)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"factor": {}}, r"no table \[factor\] in an experiment. Did you mean 'factors'\?"),
        ({"models": {}}, r"the table \[models\] is needed"),
        ({"factors": {"x": {"slots": 2}}}, r"\[factors.x\] what varies is needed: grid ="),
        ({"factors": {"x": {"grid": {"draw": [1, 2]}}}}, r"\[factors.x\] draw is not for factors"),
        (
            {"factors": {"x": {"grid": {"copies": [1, 2]}}}},
            r"\[factors.x\] .*2 words need as many slots; slots = 1",
        ),
        (
            {"factors": {"x": {"grid": {"jitter": [1]}, "explainers": {"oclusion": {}}}}},
            r"\[factors.x\] no explainer 'oclusion'. Did you mean 'occlusion'\?",
        ),
        ({"models": {CEILING: {"type": "cnn"}}}, "is the name of the grammar's own log-odds"),
        ({"experiment": {"name": "x", "seeds": [1, 1]}}, "seeds are one or more different numbers"),
        ({"experiment": {"name": "x", "gates": 1}}, r"\[experiment\] .*no setting 'gates'"),
        (
            {"models": {"cnn": TABLES["models"]["cnn"] | {"factors": ["jiter"]}}},
            r"No factor of \[models.cnn\] named 'jiter'. Did you mean 'jitter'\?",
        ),
        ({"explainers": {"nothing": {}}}, r"\[explainers.nothing\] No explainer named 'nothing'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_runs(change, message):
    with pytest.raises(ConfigError, match=message):
        experiment_from({**TABLES, **change})


def test_files_of_experiments_are_known_from_those_of_studies(tmp_path):
    studies = Path(__file__).parents[2] / "studies"
    for name in ("experiments", "experiments_quick"):
        assert is_experiment(studies / f"{name}.toml")
        assert load_experiment(studies / f"{name}.toml").cells()
    assert not is_experiment(studies / "gue_promoters.toml")
    assert not is_experiment(tmp_path / "nothing.toml")
    with pytest.raises(ConfigError, match="give a study file"):
        load_experiment(tmp_path / "nothing.toml")
    (tmp_path / "broken.toml").write_text("[experiment\n")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_experiment(tmp_path / "broken.toml")


def test_a_folder_belongs_to_one_experiment(tmp_path):
    lock = experiment_from(TABLES).lock() | {"file": "other.toml"}
    (tmp_path / "lock.json").write_text(json.dumps(lock))
    mine = replace(experiment_from(TABLES), file="mine.toml")
    with pytest.raises(ConfigError, match=r"holds the run of other.toml, not of mine.toml"):
        run_experiment(mine, tmp_path, backend="local")


def test_commands_take_experiments_as_they_take_studies(tmp_path):
    file = tmp_path / "small.toml"
    file.write_text(
        '[experiment]\nname = "small"\nexplained = 2\ngate = 0.0\n'
        "[data]\ntrain = 40\ndev = 20\ntest = 20\ngrammar = { length = 30, width = 6 }\n"
        "[factors.jitter]\ngrid = { jitter = [0] }\n"
        "[models.cnn]\nnetwork = { channels = 4, dilations = [] }\ntraining = { epochs = 1 }\n"
        "[explainers.saliency]\n"
    )
    app = CliRunner()
    assert "1 cell: 1 level, 1 seed, cnn" in app.invoke(cli, ["check", str(file)]).output
    folder = tmp_path / "runs" / "small"
    done = app.invoke(
        cli, ["run", str(file), "--out", str(tmp_path / "runs"), "--backend", "local"]
    )
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == str(folder / "report" / "index.html")
    assert holds_experiment(folder)
    assert not holds_experiment(tmp_path)
    assert "cnn, jitter: 1 of 1 cells" in app.invoke(cli, ["status", str(folder)]).output
    assert app.invoke(cli, ["report", str(folder)]).output.strip().endswith("index.html")
    assert is_experiment(folder / "lock.json")
    again = load_experiment(folder / "lock.json")
    assert [c.name for c in again.cells()] == [c.name for c in load_experiment(file).cells()]
