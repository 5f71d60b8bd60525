"""`basewise check`: what a study will cost, before anything is trained or written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import typer

from basewise.cli import app
from basewise.data.grammar import PromoterGrammar
from basewise.errors import CapabilityError
from basewise.evaluate.faithfulness import Faithfulness
from basewise.explainers.count import at_most
from basewise.explainers.forecast import Forecast
from basewise.picture.words import duration
from basewise.study import load_study
from basewise.study import plan as plans
from basewise.study.plan import Planned, by_workers, plan, size, table
from basewise.study.rehearsal import untrained_models

STUDY = """
[study]
name = "tiny"
explained = 12

[data]
type = "grammar"
train = 60
dev = 10
test = 20
grammar = { type = "promoter", length = 150, tss = 110 }

[models.cnn]
type = "cnn"
network = { channels = 4, dilations = [1] }

[models.hyena]
type = "hyenadna"
network = { d_model = 8, n_layer = 1, d_inner = 16 }

[target]
label = "promoter"

[explainers.occlusion]

[explainers.lime]
samples = 30
"""
GIVEN = {"train": PromoterGrammar(length=150, tss=110).make(20, seed=1)}


def test_every_model_and_explainer_has_a_row_and_there_is_a_sum(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    seen: list[tuple[int, int, str]] = []
    lines = plan(load_study(tmp_path / "study.toml"), progress=lambda *at: seen.append(at))
    rows = [line.split() for line in lines if line.startswith("  ")]
    assert rows[0] == ["model", "explainer", "shards", "evaluations", "time", "memory", "disk"]
    assert [row[:3] for row in rows[1:]] == [
        ["cnn", "occlusion", "1"],
        ["cnn", "lime", "1"],
        ["hyena", "occlusion", "1"],
        ["hyena", "lime", "1"],
        ["all", "4", "at"],
    ]
    assert rows[1][3] == f"{12 * 152:,}"
    assert rows[2][3:6] == ["at", "most", f"{12 * 31}"]
    assert rows[5][4] == f"{2 * 12 * (152 + 31):,}"
    assert "Training" in lines[-1]
    assert seen[-1] == (3, 4, "hyena by lime")
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_faithfulness_and_controls_are_counted_and_timed(tmp_path: Path) -> None:
    text = STUDY.partition("[models.hyena]")[0] + "[target]" + STUDY.partition("[target]")[2]
    text += "[faithfulness]\nrecords = 3\n[controls]\nrecords = 5\nuse = ['decoys', 'strand']\n"
    (tmp_path / "study.toml").write_text(text)
    lines = plan(load_study(tmp_path / "study.toml"))
    rows = {line.split()[1]: line for line in lines if line.startswith("  cnn")}
    assert list(rows) == ["occlusion", "lime", "(faithfulness)", "(controls)"]
    model = next(untrained_models(load_study(tmp_path / "study.toml"), GIVEN))[1]
    record = GIVEN["train"][0]
    most = 3 * Faithfulness().cost(model, record, 2).number
    assert rows["(faithfulness)"].split()[2:5] == ["at", "most", f"{most:,}"]
    assert rows["(controls)"].split()[2:5] == ["at", "most", f"{5 * 3 * (152 + 31):,}"]
    assert lines[-2].startswith("Faithfulness and controls are done by this process")
    assert lines[-1].startswith("Training, also on permuted labels, and predicting")


def test_a_data_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(STUDY)
    asked = ["check", str(tmp_path / "study.toml"), "--data", str(tmp_path / "nowhere")]
    with pytest.raises(typer.BadParameter, match="nowhere' does not exist"):
        app(asked, standalone_mode=False)


def test_what_a_model_cannot_serve_is_named(tmp_path: Path) -> None:
    text = STUDY.replace("[explainers.lime]\nsamples = 30", "[explainers.deep_lift]")
    (tmp_path / "study.toml").write_text(text)
    said = r"\[explainers.deep_lift\] with \[models.hyena\]: deep_lift is for networks on one-hot"
    with pytest.raises(CapabilityError, match=said):
        plan(load_study(tmp_path / "study.toml"))


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.03, "< 0.1 s"), (0.05, "0.1 s"), (8, "8.0 s"), (89, "89 s"), (90, "1.5 min"),
     (5400, "1.5 h"), (47 * 3600, "47 h"), (48 * 3600, "2.0 days"), (1e8, "1,157 days")],
)  # fmt: skip
def test_times_to_plan_by(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [(900, "0.9 kB"), (15_400, "15 kB"), (1.24e6, "1.2 MB"), (999.6e6, "1.0 GB")],
)  # fmt: skip
def test_sizes_to_plan_by(number: float, said: str) -> None:
    assert size(number) == said


def test_a_bound_far_above_what_the_trial_took_is_told_beside_it() -> None:
    cost = Forecast(3, at_most(800), seconds=30, most=100, memory=5 * 10**8, disk=10**5)
    near = replace(cost, seconds=90)
    rows = table([Planned("m", "far", cost), Planned("m", "near", near)])
    assert "30 s, at most 1.7 min" in rows[1]
    assert "  1.5 min  500 MB" in rows[2]
    assert "2.0 min, at most 3.3 min" in rows[3]


def test_a_table_of_nothing_is_its_head() -> None:
    assert table([])[0].split()[0] == "model"


def test_workers_share_what_is_worth_sharing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans, "cores", lambda: 8)
    assert by_workers(1600, 500) == (
        "13 min with 2, 3.3 min with 8, 1.7 min with 16, 12 s with 128"
    )
    assert by_workers(1600, 5) == "13 min with 2, 5.3 min with 5"  # no more than there are parts
    assert by_workers(1600, 5, longest=480) == "13 min with 2, 8.0 min with 5"
    assert by_workers(1600, 1) == ""
    assert by_workers(9, 500) == ""
