"""The files that settings name are part of what results depend on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from basewise.explainers import EXPLAINERS
from basewise.study import run_study
from basewise.study.files import contents
from basewise.study.study import study_from
from explained_models import kmer_bert

TABLES: dict[str, Any] = {
    "study": {"name": "tested", "seed": 3, "explained": 4},
    "data": {
        "type": "grammar",
        "train": 40,
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
    "explainers": {"occlusion": {"units": {"type": "windows", "size": 50}}},
    "biology": {"panel": "none"},
    "as_published": {"word": ""},
    "controls": {"use": []},
}


def test_files_are_found_wherever_they_are_named(tmp_path: Path) -> None:
    features, others = tmp_path / "features.bed", tmp_path / "others.fa"
    features.write_text("r0\t0\t9\tx\n")
    others.write_text(">a\nACGT\n")
    kmer_bert().save(tmp_path / "model")
    units = {"type": "features", "file": str(features)}
    by = {
        "background": {"type": "background", "file": str(others)},
        "infill": {"type": "infill", "model": str(tmp_path / "model")},
    }
    for name, file in (("background", others), ("infill", tmp_path / "model" / "config.json")):
        lime = EXPLAINERS.build({"type": "lime", "units": units, "masking": by[name]})
        before = contents(lime)
        assert set(before) == {str(features), str(others if name == "background" else file.parent)}
        file.write_text(file.read_text() + "\n")
        after = contents(lime)
        assert {path for path in after if after[path] != before[path]} == set(after) - {
            str(features)
        }


def test_settings_that_name_no_file_have_no_hash(tmp_path: Path) -> None:
    lime = EXPLAINERS.build({"type": "lime", "units": {"type": "features"}})
    assert contents(lime) == contents([]) == contents(None) == {}
    missing = {"type": "background", "file": str(tmp_path / "none.fa")}
    assert contents([EXPLAINERS.build({"type": "lime", "masking": missing})]) == {}


@pytest.mark.slow
def test_a_changed_background_explains_again_and_trains_nothing(tmp_path: Path) -> None:
    others = tmp_path / "others.fa"
    others.write_text(">a\n" + "ACGTT" * 30 + "\n")
    tables = copy.deepcopy(TABLES)
    tables["explainers"]["occlusion"]["masking"] = {
        "type": "background",
        "file": str(others),
        "draws": 1,
    }

    def explained() -> tuple[Any, int]:
        run = run_study(study_from(tables), tmp_path / "run")
        weights = run.folder / "models" / "cnn" / "model.safetensors"
        return run.attributions("cnn", "occlusion")[0].scores, weights.stat().st_mtime_ns

    scores, trained = explained()
    again, kept = explained()
    assert (scores == again).all()
    others.write_text(">a\n" + "GATCA" * 30 + "\n")
    changed, still = explained()
    assert (scores != changed).any()
    assert trained == kept == still
