"""What every registered check owes its caller. A new check is tested by existing."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from itertools import pairwise
from typing import get_args

import numpy as np
import pytest

from audit_sets import bases, clean, natural, records, rng
from basewise.checks import CHECKS, Audit, Finding, Severity, Split, audit
from basewise.errors import ConfigError
from basewise.types import Record

NAMES = CHECKS.names()
QUICK = {"shortcuts": {"resamples": 20}}


def built(name: str):
    return CHECKS.build({"type": name} | QUICK.get(name, {}))


def splits_of(kind: str) -> dict[str, list[Record]]:
    draw = rng(3)
    if kind == "two classes":
        return clean(1, 60, 50)
    if kind == "three classes, one split":
        return {"data": [r for c in "xyz" for r in records(natural(draw, 20, 45), c, c)]}
    if kind == "values":
        some = records(bases(draw, 33, 40), 0.5, "v")
        return {"train": some, "test": [Record("w", some[0].sequence, 1.5)]}
    if kind == "no labels":
        return {
            "train": records(bases(draw, 17, 40), None, "a"),
            "other": records(bases(draw, 9, 40), None, "b"),
        }
    if kind == "ragged with N":
        draw = rng(4)
        text = ["ACGTN"[i] for i in draw.integers(0, 5, 4000)]
        ends = np.cumsum(draw.integers(1, 60, 60))
        cut = ["".join(text[a:b]) for a, b in pairwise(ends)]
        rows = [Record(str(i), s, "AB"[i % 2]) for i, s in enumerate([*cut, "N", "NNNN"])]
        return {"train": rows[:40], "test": rows[40:], "reference": [Record("r", "ACGT")]}
    raise AssertionError(kind)


KINDS = ["two classes", "three classes, one split", "values", "no labels", "ragged with N"]


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("kind", KINDS)
def test_findings_are_whole_and_plain(name: str, kind: str) -> None:
    splits = splits_of(kind)
    found = built(name).check(splits)
    assert found, "a check says that it found nothing instead of staying silent"
    for finding in found:
        assert isinstance(finding, Finding)
        assert finding.check == name
        assert finding.severity in get_args(Severity)
        assert finding.title
        assert finding.sentence.endswith(".")
        assert "\n" not in finding.sentence
        assert "nan" not in finding.sentence
        assert type(finding.n) is int
        assert finding.n >= 0
        for estimate in finding.effect.values():
            assert estimate.low <= estimate.value <= estimate.high or np.isnan(estimate.value)
        assert json.loads(json.dumps(dict(finding.evidence))) == finding.evidence
        assert all(isinstance(example, str) for example in finding.examples)
    whole = Audit(tuple(found), tuple(Split.of(key, some) for key, some in splits.items()))
    again = Audit.from_json(whole.to_json())
    assert str(again) == str(whole)
    assert again.to_json() == whole.to_json()


def test_same_data_same_findings_and_data_are_left_alone(name: str) -> None:
    splits = splits_of("two classes")
    copy = {key: list(some) for key, some in splits.items()}
    assert built(name).check(splits) == built(name).check(splits)
    assert splits == copy


def test_settings_are_frozen_and_checked(name: str) -> None:
    check = built(name)
    first = fields(check)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(check, first, 1)
    with pytest.raises(ConfigError, match="has no setting 'threshhold'"):
        CHECKS.build({"type": name, "threshhold": 0.1})


def test_audit_takes_components_names_and_tables() -> None:
    splits = splits_of("no labels")
    every = audit(**splits, checks=["duplicates", {"type": "near_duplicates", "word": 12}])
    assert [f.check for f in every.findings] == [
        *["duplicates"] * (len(every.findings) - 1),
        "near_duplicates",
    ]
