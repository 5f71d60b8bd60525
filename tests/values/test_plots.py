"""Plots: what is drawn is where its numbers say, and nothing is drawn where there are none."""

from __future__ import annotations

import re

import numpy as np
import pytest

from basewise.picture.plots import Box, Panel, Series, boxes, grid, multiples

NAN = float("nan")


def circles(drawing: str) -> list[tuple[float, float]]:
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="3"', drawing)
    return [(float(x), float(y)) for x, y in found]


def test_curves_stand_at_their_values_and_break_where_there_are_none():
    values = np.array([0.0, 1.0, NAN, 0.5])
    nothing = np.full(4, NAN)
    panel = Panel("one", (Series("cnn", values, nothing, nothing),), np.full(4, 0.25))
    drawing = str(multiples([panel], ["a", "b", "c", "d"], "levels", "AUPRC"))
    _legend, *marks = circles(drawing)
    assert len(marks) == 3
    (x0, y0), (x1, y1), (x3, y3) = marks
    assert y0 > y3 > y1
    assert y3 == pytest.approx((y0 + y1) / 2, abs=0.1)
    assert (x3 - x0) == pytest.approx(3 * (x1 - x0), abs=0.2)
    assert drawing.count("stroke-dasharray:2 3") == 2  # chance, and its key
    assert "nan" not in drawing
    assert re.search(r'd="M[\d. ]+L[\d. ]+M[\d. ]+"', drawing)


def test_every_series_has_a_mark_of_its_own():
    def panel(names):
        some = np.array([0.5, 0.6])
        return Panel("p", tuple(Series(n, some, some, some) for n in names), np.full(2, NAN))

    drawing = str(multiples([panel(["a", "b", "c"])], ["1", "2"], "x", "y"))
    assert len(circles(drawing)) == 2 + 1
    assert drawing.count('width="5.6"') == 2 + 1
    assert drawing.count("l3.4 6.2h-6.8z") == 2 + 1


def test_a_box_spans_the_quartiles_and_leaves_out_what_is_far():
    values = np.array([0.4, 0.5, 0.5, 0.6, 0.6, 0.7, NAN, 0.0])
    drawing = str(boxes([Box("row", values, 0.1)], "AUPRC"))
    zero, one = (
        float(x) for x in re.findall(r'<path d="M([\d.]+) 2V', drawing)[:1]
        + re.findall(r'<path d="M([\d.]+) 2V', drawing)[-1:]
    )  # fmt: skip
    left, wide = map(float, re.search(r'<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)"',
                                      drawing.split("</defs>")[1]).groups())  # fmt: skip
    low, high = np.nanquantile(values, [0.25, 0.75])
    assert left == pytest.approx(zero + low * (one - zero), abs=0.1)
    assert left + wide == pytest.approx(zero + high * (one - zero), abs=0.1)
    assert drawing.count('r="2"') == 1  # 0.0 is beyond the whiskers
    assert "nan" not in drawing


def test_a_grid_says_its_numbers_and_leaves_cells_empty():
    drawing = str(grid(["r <1>", "s"], ["a", "b"], np.array([[0.0, 1.0], [0.256, NAN]])))
    assert re.findall(r">([\d.]+|–)</text>", drawing) == ["0.00", "1.00", "0.26", "–"]
    assert "r &lt;1&gt;" in drawing
    shades = re.findall(r"fill:(#\w+|none);stroke", drawing)
    assert shades == ["#f7f9fc", "#124080", shades[2], "none"]
