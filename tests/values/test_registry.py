"""Components and their tables: frozen, validated, named, and errors that teach."""

import pickle
from typing import Annotated

import pytest
from pydantic import Field

from basewise.errors import ConfigError, UnknownName
from basewise.explainers import EXPLAINERS, MASKINGS
from basewise.explainers.kernel_shap import KernelShap
from basewise.registry import Registry, component, settings_of
from basewise.types import Target


@component
class Knob:
    """Turns."""

    turns: Annotated[int, Field(ge=0)] = 3


def test_a_component_is_frozen_and_compares_by_its_settings():
    assert Knob(turns=2) == Knob(turns=2) != Knob()
    with pytest.raises(AttributeError):
        Knob().turns = 4  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(KernelShap(evaluations=64))) == KernelShap(evaluations=64)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"turn": 1}, r"^Knob has no setting 'turn'\. Did you mean 'turns'\? It has turns\.$"),
        ({"turns": -1}, r"^Knob: turns = -1: input should be greater than or equal to 0\.$"),
        ({"turns": "x", "y": 1}, "no setting 'y'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(settings, message):
    with pytest.raises(ConfigError, match=message):
        Knob(**settings)


def test_a_table_builds_from_a_name_a_table_or_the_thing_itself():
    same = MASKINGS.build("n")
    assert MASKINGS.build({"type": "n"}) == same
    assert MASKINGS.build(same) is same
    with pytest.raises(ConfigError, match="needs the key 'type'"):
        MASKINGS.build({"draws": 3})


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"evals": 9}, r"^explainer 'lime' has no setting 'evals'\."),
        ({"samples": 1}, r"^explainer 'lime': samples = 1: input should be greater than or equal"),
        (
            {"masking": {"type": "n", "draw": 3}},
            r"^explainer 'lime': masking = .*: masking 'n' has no setting 'draw'\.",
        ),
    ],
)
def test_a_table_is_refused_by_the_name_it_gives(table, message):
    with pytest.raises(ConfigError, match=message):
        EXPLAINERS.build({"type": "lime"} | table)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'kernel_shap'"):
        EXPLAINERS.build("kernelshap")


def test_settings_build_the_component_again():
    made = EXPLAINERS.build(
        {"type": "kernel_shap", "units": {"type": "windows", "size": 7}, "masking": "shuffled"}
    )
    table = {"type": Registry.name_of(made)} | settings_of(made)
    assert EXPLAINERS.build(table) == made
    assert table["units"] == {"type": "windows", "size": 7}


def test_a_label_is_found_by_name_and_never_guessed():
    assert Target("b").index(["a", "b"]) == 1
    with pytest.raises(UnknownName, match=r"No label of this model named '1'\. Known: a, b\."):
        Target("1").index(["a", "b"])
