"""Pictures of tracks: every number and stretch is somewhere."""

import re

import numpy as np
import pytest

from basewise.drawing import draw_tracks
from basewise.errors import DataError
from basewise.types import Span


def test_a_single_base_among_many_is_drawn():
    values = np.zeros(50_000)
    values[31_234] = 0.8
    values[100:90:-1] = np.nan
    svg = draw_tracks(0, {"z": values}, {"called": [Span(31_234, 31_235, "a<b")]}).svg
    (light, dark) = re.findall(r'<path d="([^"]*)" fill="#', svg)
    assert light.count("M") == 1
    left = float(re.search(r"M([\d.]+)", light)[1])
    assert left == pytest.approx(64 + 884 * 31_234 / 50_000, abs=1)
    assert "<title>a&lt;b 31,235 to 31,235</title>" in svg
    assert float(re.search(r'width="([\d.]+)" height="14"', svg)[1]) == 1.0
    assert dark.count("M") <= 1


def test_stretches_outside_are_left_out_and_cut_at_the_ends():
    spans = [Span(0, 90, "out"), Span(95, 105, "cut"), Span(120, 130, "out")]
    svg = draw_tracks(100, {"z": np.ones(20)}, {"called": spans}).svg
    assert re.findall(r"<title>(\w+)", svg) == ["cut"]
    box = re.search(r'<rect x="([\d.]+)" y="\d+" width="([\d.]+)"', svg)
    assert [float(box[1]), float(box[2])] == [64, 221]  # 5 of 20 bases of 884 pixels


def test_tracks_of_several_lengths_are_refused():
    with pytest.raises(DataError, match=r"Tracks of \[2, 3\] bases"):
        draw_tracks(0, {"a": np.ones(2), "b": np.ones(3)})
    with pytest.raises(DataError, match="Tracks of no bases"):
        draw_tracks(0, {})
