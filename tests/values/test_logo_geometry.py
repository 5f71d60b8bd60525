"""Logos: letters as tall as their scores, at their places, told apart by every eye."""

from __future__ import annotations

import re
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from basewise.drawing import logo_of as logo
from basewise.picture.logo import COLOURS, best_window
from basewise.types import Attribution, Span, Target

SVG = "{http://www.w3.org/2000/svg}"


def attribution(sequence: str, scores: np.ndarray, method: str = "occlusion") -> Attribution:
    bases = np.arange(len(sequence))
    return Attribution(
        record_id="a",
        sequence=sequence,
        model="cnn",
        target=Target("promoter"),
        method=method,
        kind="additive",
        spans=np.stack([bases, bases + 1], 1),
        scores=scores,
        output=2.5,
        baseline=0.5,
        evaluations=8,
        seed=1,
    )


def letters(drawing: str) -> list[tuple[str, float, float, float, float]]:
    """Every letter drawn: base, width, height, x, top; from left to right."""
    root = ElementTree.fromstring(drawing)
    found = []
    for use in root.iter(f"{SVG}use"):
        size = re.fullmatch(r"matrix\((\S+) 0 0 (\S+) (\S+) (\S+)\)", use.attrib["transform"])
        assert size is not None
        width, height, x, top = map(float, size.groups())
        found.append((use.attrib["href"][-1], width, height, x, top))
    return sorted(found, key=lambda letter: letter[3])


def test_heights_are_scores_and_negative_letters_hang_below_the_axis() -> None:
    scores = np.array([1.0, -0.5, 2.0, 0.0, 0.25])
    drawn = letters(logo([attribution("GATCA", scores)]))
    assert [base for base, *_ in drawn] == ["G", "A", "T", "A"]  # the zero draws nothing
    heights = np.array([height for _, _, height, _, _ in drawn])
    assert heights / heights.max() == pytest.approx([0.5, 0.25, 1.0, 0.125], rel=0.01)
    tops = np.array([top for *_, top in drawn])
    floor = tops + heights
    axis = floor[0]
    assert floor[[0, 2, 3]] == pytest.approx(axis, abs=0.2)
    assert tops[1] == pytest.approx(axis, abs=0.2)  # hangs: its top is the axis
    places = [x for _, _, _, x, _ in drawn]
    cell = places[1] - places[0]
    assert [x - places[0] for x in places] == pytest.approx([0, cell, 2 * cell, 4 * cell], abs=0.3)
    assert all(width < cell for _, width, *_ in drawn)


def test_outlines_fill_the_unit_square() -> None:
    root = ElementTree.fromstring(logo([attribution("ACGTN", np.ones(5))]))
    paths = {p.attrib["id"][-1]: p.attrib["d"] for p in root.iter(f"{SVG}path") if "id" in p.attrib}
    assert set(paths) == set("ACGTN")
    for d in paths.values():
        points = np.array([float(x) for x in re.findall(r"-?[\d.]+(?:e-?\d+)?", d)]).reshape(-1, 2)
        assert points.min(0) == pytest.approx([0, 0], abs=0.02)
        assert points.max(0) == pytest.approx([1, 1], abs=0.02)


@given(
    st.lists(st.floats(-5, 5, width=16), min_size=3, max_size=40),
    st.integers(1, 12),
)
def test_the_window_holds_the_largest_absolute_mass(scores: list[float], width: int) -> None:
    track = np.array(scores)
    start, end = best_window([track], width)
    if len(track) <= width:
        assert (start, end) == (0, len(track))
        return
    assert end - start == width
    masses = [np.abs(track[i : i + width]).sum() for i in range(len(track) - width + 1)]
    assert np.abs(track[start:end]).sum() == pytest.approx(max(masses), abs=1e-9)


def test_explainers_weigh_the_same_in_the_choice_of_the_window() -> None:
    loud, quiet, also = np.zeros(30), np.zeros(30), np.zeros(30)
    loud[3], quiet[20], also[21] = 1000.0, 1.0, 1.0
    start, end = best_window([loud, quiet, also], 6)
    assert start <= 20 < 21 < end


def test_a_long_sequence_shows_its_window_in_coordinates_of_the_tss() -> None:
    scores = np.zeros(300)
    scores[246:252] = 1.0
    found = attribution("ACGTTG" * 50, scores)
    text = logo(
        [found],
        tss=249,
        truth=(Span(246, 252, "planted"), Span(0, 5, "outside")),
        hits=(Span(246, 252, "Inr"),),
        width=20,
    )
    shown = re.sub(r"<[^>]+>", " ", text)
    assert "300 bp" in shown
    assert "+1" in shown
    assert "TSS" in shown
    assert "position relative to the TSS" in shown
    assert "Inr" in shown
    assert "planted" in shown
    assert "outside" not in shown  # of the window
    assert "log-odds of promoter" in shown
    assert "output 2.50, baseline 0.500, gap −4.00" in shown
    assert len(letters(text)) == 6


def test_names_that_would_overlap_stand_in_different_rows() -> None:
    spans = (Span(10, 14, "a_long_name"), Span(15, 19, "another_name"), Span(60, 64, "third"))
    text = logo([attribution("ACGTA" * 20, np.ones(100))], hits=spans)
    found = re.findall(r'y="([\d.]+)"[^>]*>(a_long_name|another_name|third)<', text)
    rows = {name: float(y) for y, name in found}
    assert rows["a_long_name"] != rows["another_name"]
    assert rows["third"] == rows["a_long_name"]


def test_every_name_is_escaped() -> None:
    found = attribution("ACGT", np.ones(4))
    text = logo([found], names=["<script>1</script>"], hits=(Span(0, 2, 'x"href="#'),))
    assert "<script" not in text
    ElementTree.fromstring(text)


def test_a_flat_attribution_is_drawn_without_letters() -> None:
    assert letters(logo([attribution("ACGTACG", np.zeros(7))])) == []


def test_300_letters_under_5_explainers_take_little_room() -> None:
    rng = np.random.default_rng(3)
    sequence = "".join(rng.choice(list("ACGT"), 300))
    found = [attribution(sequence, rng.normal(size=300), f"method{i}") for i in range(5)]
    text = logo(found, width=300)
    assert len(letters(text)) > 1400
    assert len(text) < 200_000


def _linear(colour: str) -> np.ndarray:
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _lab(linear: np.ndarray) -> np.ndarray:
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    xyz = np.array(to_xyz) @ np.clip(linear, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira & Fernandes 2009, IEEE TVCG 15:1291, severity 1; rows joined.
VISION = {
    "normal": "1 0 0 0 1 0 0 0 1",
    "protan": "0.152286 1.052583 -0.204868 0.114503 0.786281 0.099216 -0.003882 -0.048116 1.051998",
    "deutan": "0.367322 0.860646 -0.227968 0.280085 0.672501 0.047413 -0.011820 0.042940 0.968881",
    "tritan": "1.255528 -0.076749 -0.178779 -0.078411 0.930809 0.147602 0.004733 0.691367 0.303900",
}


@pytest.mark.parametrize("vision", VISION)
def test_bases_are_told_apart_with_every_kind_of_vision(vision: str) -> None:
    matrix = np.array(VISION[vision].split(), float).reshape(3, 3)
    seen = {base: _lab(matrix @ _linear(COLOURS[base])) for base in "ACGT"}
    for one, other in combinations("ACGT", 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


def test_bases_have_a_contrast_of_3_on_white() -> None:
    for colour in COLOURS.values():
        luminance = float(np.array([0.2126, 0.7152, 0.0722]) @ _linear(colour))
        assert 1.05 / (luminance + 0.05) >= 3


def test_stacked_explainers_share_the_axis_and_keep_their_order() -> None:
    found = [attribution("ACG", np.array([1.0, 2.0, 3.0]), f"m{i}") for i in range(4)]
    text = logo(found)
    tops = [text.index(f">m{i}<") for i in range(4)]
    assert all(a < b for a, b in pairwise(tops))
    assert len(letters(text)) == 12
    assert len({round(x) for _, _, _, x, _ in letters(text)}) == 3
