"""A study with faithfulness and controls: what it writes, what it keeps, what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from basewise.errors import CapabilityError, ConfigError, DataError, UnknownName
from basewise.evaluate.controls import CONTROL, Case, Verdict
from basewise.evaluate.faithfulness import CURVES, FAITHFULNESS
from basewise.evaluate.invariance_controls import Strand
from basewise.report import write_report
from basewise.study import load_study, run_study
from basewise.study.results import Run
from basewise.study.study import study_from

TABLES: dict[str, Any] = {
    "study": {"name": "tested", "seed": 3, "explained": 8},
    "data": {
        "type": "grammar",
        "train": 60,
        "dev": 20,
        "test": 20,
        "grammar": {"type": "promoter", "length": 150, "tss": 110},
    },
    "models": {
        "cnn": {
            "type": "cnn",
            "network": {"channels": 8, "dilations": [1], "stem_kernel": 7},
            "training": {"epochs": 1, "batch_size": 32},
        }
    },
    "target": {"label": "promoter"},
    "explainers": {"saliency": {}, "random": {}},
    "faithfulness": {
        "maskings": ["n"],
        "orders": 1,
        "steps": 2,
        "correlations": False,
        "records": 6,
    },
    "controls": {
        "use": ["randomised_layers", {"type": "permuted_labels", "epochs": 1}, "strand"],
        "explainers": ["saliency"],
        "records": 7,
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_study(study_from(TABLES), tmp_path_factory.mktemp("run"))


def test_faithfulness_of_every_explainer_is_written(run: Run) -> None:
    assert list(run.faithfulness) == ["model", "explainer", *FAITHFULNESS[1:]]
    assert set(run.faithfulness["explainer"]) == {"saliency", "random"}
    assert set(run.faithfulness["n"]) == {6}
    assert list(run.faithfulness_curves) == ["model", "explainer", *CURVES[1:]]
    assert set(run.faithfulness_curves["explainer"]) == {"saliency", "random", ""}


def test_the_chosen_controls_examine_the_chosen_explainers(run: Run) -> None:
    table = run.controls
    assert list(table) == ["model", "explainer", *CONTROL]
    verdicts = table[table["stage"] == ""]
    assert verdicts["control"].tolist() == ["randomised_layers", "permuted_labels", "strand"]
    assert set(verdicts["explainer"]) == {"saliency"}
    assert set(verdicts["n"]) == {7}
    assert "not run" not in set(verdicts["outcome"])


def test_the_lock_runs_it_again_and_nothing_is_computed_twice(run: Run) -> None:
    files = [run.folder / "metrics" / f"{n}.parquet" for n in ("faithfulness", "controls")]
    before = [file.stat().st_mtime_ns for file in files]
    run_study(load_study(run.folder / "lock.json"), run.folder)
    assert [file.stat().st_mtime_ns for file in files] == before


def test_a_changed_control_runs_controls_and_nothing_else(run: Run) -> None:
    tables = copy.deepcopy(TABLES)
    tables["controls"]["use"] = ["strand"]
    kept = run.folder / "metrics" / "faithfulness.parquet"
    before = kept.stat().st_mtime_ns
    again = run_study(study_from(tables), run.folder)
    assert again.controls["control"].tolist() == ["strand"]
    assert kept.stat().st_mtime_ns == before
    run_study(study_from(TABLES), run.folder)


def test_the_report_shows_them(run: Run) -> None:
    page = write_report(run.folder).read_text(encoding="utf-8")
    assert "Does the explanation pass its controls?" in page
    assert "permuted labels" in page


def test_without_tables_nothing_is_put_to_the_test(tmp_path: Path) -> None:
    tables = {k: v for k, v in TABLES.items() if k not in ("faithfulness", "controls")}
    found = run_study(study_from(tables), tmp_path)
    assert found.faithfulness.empty
    assert found.controls.empty


@pytest.mark.parametrize(
    ("table", "settings", "said"),
    [
        (
            "controls",
            {"use": ["strands"]},
            r"\[controls\] .*no control named 'strands'\. Did you mean 'strand'",
        ),
        ("controls", {"record": 5}, r"\[controls\] Controls has no setting 'record'"),
        ("faithfulness", {"maskings": ["x"]}, r"\[faithfulness\] .*no masking named 'x'"),
        ("faithfulness", {"step": 5}, r"\[faithfulness\] .*no setting 'step'"),
    ],
)
def test_settings_that_are_wrong_are_refused(table: str, settings: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        study_from(TABLES | {table: settings})


def test_an_explainer_that_the_study_lacks_is_refused() -> None:
    with pytest.raises(UnknownName, match="No explainer of this study named 'lime'"):
        study_from(TABLES | {"controls": {"explainers": ["lime"]}})


def test_maskings_that_a_model_cannot_show_are_refused_before_training(tmp_path: Path) -> None:
    tables = copy.deepcopy(TABLES)
    tables["faithfulness"]["maskings"] = ["mask"]
    said = r"\[faithfulness\] with \[models.cnn\]: None of the maskings can be shown"
    with pytest.raises(CapabilityError, match=said):
        run_study(study_from(tables), tmp_path)
    assert not (tmp_path / "models").exists()


def test_controls_are_tried_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str]] = []

    def judge(self: Strand, case: Case) -> Verdict:
        asked.append((len(case.records), case.model.name))
        raise DataError("there is no other strand")

    monkeypatch.setattr(Strand, "judge", judge)
    with pytest.raises(DataError, match=r"\[controls\] with \[models.cnn\]: there is no other"):
        run_study(study_from(TABLES), tmp_path)
    assert asked == [(1, "cnn")]
    assert not (tmp_path / "models").exists()
