"""Grids of models: every combination, named by hand; what is no grid is refused in one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from basewise.errors import ConfigError
from basewise.study.grid import expanded
from basewise.study.study import study_from


def test_every_combination_by_hand() -> None:
    table = {
        "head": "token_classification",
        "labelling": {"comparison": ">="},
        "grid": {"max_length": [4, 5, 6], "labelling.threshold": [0.3, 0.5]},
    }
    found = expanded("small", table)
    assert list(found) == [
        "small-max_length4-threshold0.3",
        "small-max_length4-threshold0.5",
        "small-max_length5-threshold0.3",
        "small-max_length5-threshold0.5",
        "small-max_length6-threshold0.3",
        "small-max_length6-threshold0.5",
    ]
    assert found["small-max_length5-threshold0.3"] == {
        "head": "token_classification",
        "labelling": {"comparison": ">=", "threshold": 0.3},
        "max_length": 5,
    }
    assert table["labelling"] == {"comparison": ">="}
    assert expanded("one", {"head": "x"}) == {"one": {"head": "x"}}


def study(models: dict[str, Any]) -> Any:
    return study_from(
        {
            "study": {"name": "s"},
            "data": {"type": "labelled_bases", "file": "x.csv", "label": "Z"},
            "models": models,
            "target": {"label": "Z"},
            "explainers": {"occlusion": {}},
        }
    )


def test_a_lock_holds_the_models_and_gives_them_again() -> None:
    made = study({"hyenadna": {"head": "token_classification", "grid": {"entries": [20, 30]}}})
    assert list(made.models) == ["hyenadna-entries20", "hyenadna-entries30"]
    assert [model.entries for model in made.models.values()] == [20, 30]
    locked = json.loads(json.dumps(made.settings()))
    assert study_from(locked).settings() == made.settings()


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ([1], r"\[models.cnn\] grid = \[1\]: write grid = \{ setting = \[value, value\] \}."),
        ({"a": 3}, r"\[models.cnn\] grid: a = 3 is no list of values."),
        ({"a": []}, r"grid: a = \[\] is no list of values."),
        ({"a": [[1]]}, r"grid: a holds \[1\]; numbers and texts go there."),
        ({"a": [*range(101)]}, "grid makes 101 models; 100 are the most."),
        ({"a": [1, 1]}, "grid holds a value twice, or settings whose names end alike."),
        ({"network": [1, 2]}, r"grid: network is given in the table too \(\{\}\)"),
        ({"network.b": ["/"]}, "names are letters, digits, '-', '_' and '.'."),
        ({"type.b": [1]}, "grid: type.b, but type = 'cnn' is no table."),
        ({"chanels": [1]}, "'cnn' has no setting 'chanels'"),
    ],
)
def test_what_is_no_grid(grid: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        study({"cnn": {"type": "cnn", "network": {}, "grid": grid}})
    assert "\n" not in str(caught.value)
