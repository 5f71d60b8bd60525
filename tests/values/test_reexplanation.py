"""Explaining again without a region: a copy takes over, a partner falls silent, the rest stays."""

import numpy as np
import pytest

import basewise as bw
from basewise.biology.reexplanation import REEXPLAINED, reexplain_without
from basewise.data.features import Feature
from basewise.errors import ConfigError, DataError

FIRST, SECOND = "GATTACAGATTACAGG", "CCTGAATCCGTAATCC"


def gene(name, *parts):
    return Feature(name, "gene", "c", tuple(parts), "+", name)


@pytest.fixture
def record():
    rng = np.random.default_rng(0)
    letters = rng.choice(list("ACGT"), 600)
    for at, word in ((112, FIRST), (212, FIRST), (312, SECOND)):
        letters[at : at + 16] = list(word)
    return bw.Record("c", "".join(letters))


GENES = [gene("copy_1", (100, 140)), gene("copy_2", (200, 240)), gene("partner", (300, 340))]
GENES += [gene("idle", (400, 440)), gene("late", (560, 590))]


def either_and_partner():
    """1 where a copy is there and the partner is."""
    return bw.Model.from_callable(
        lambda rows: [float(FIRST in s and SECOND in s) for s in rows], ["trait"]
    )


WINDOWS = {"type": "windows", "size": 20}


def occluded(record, groups, **more):
    from basewise.explainers import EXPLAINERS

    explainer = EXPLAINERS.build({"type": "occlusion", "units": WINDOWS, "masking": "n"})
    settings = {"target": "trait", "how": "mask", "controls": 15, "gc_tolerance": 0.3} | more
    return reexplain_without(either_and_partner(), record, groups, GENES, explainer, **settings)


def test_a_copy_takes_over_and_a_partner_falls_silent(record):
    table = occluded(record, {"copy_1": GENES[:1], "partner": GENES[2:3]})
    assert tuple(table.columns) == REEXPLAINED
    found = table.set_index(["group", "region"])
    # With both copies none is needed; the partner is, and two windows of 20 hold some of it.
    assert found.before["copy_1", "copy_2"] == 0
    assert found.after["copy_1", "copy_2"] == pytest.approx(2 / 40)
    row = found.loc["copy_1", "copy_2"]
    assert row.change == pytest.approx(2 / 40)
    assert row.p == pytest.approx(2 / (1 + row.controls))
    assert 0 < row.low <= row.difference <= row.high
    # Without the partner nothing is left to explain.
    assert found.before["copy_1", "partner"] == pytest.approx(2 / 40)
    assert found.change["copy_1", "partner"] == 0
    assert ("partner", "partner") not in found.index
    idle = found.loc["copy_1", "idle"]
    assert (idle.change, idle.difference, idle.p) == (0, 0, 1)
    assert set(found.loc["partner"].index) == {"copy_1", "copy_2", "idle", "late"}


def test_controls_on_a_region_do_not_count_for_it(record):
    table = occluded(record, {"wide": [gene("wide", (0, 95))]}, controls=30)
    assert (table.controls <= 30).all()
    assert table.controls.nunique() > 1
    assert (table.reason == "").all()


def test_without_room_for_controls_there_is_a_reason(record):
    table = occluded(record, {"wide": [gene("wide", (0, 550))]})
    assert table.region.tolist() == ["late"]
    assert "lie off the region are needed; 0 were found" in table.reason[0]
    assert table.p.isna().all()


def test_what_cannot_be_explained_again_is_said(record):
    with pytest.raises(ConfigError, match="'delete': a re-explanation keeps places"):
        occluded(record, {"x": GENES[:1]}, how="delete")
    with pytest.raises(DataError, match=r"far \(c:590-700\) does not lie on the record 'c'"):
        reexplain_without(
            either_and_partner(), record, {}, [gene("far", (590, 700))], "occlusion", target="trait"
        )
    with pytest.raises(DataError, match="no regions to score"):
        reexplain_without(either_and_partner(), record, {}, [], "occlusion", target="trait")
