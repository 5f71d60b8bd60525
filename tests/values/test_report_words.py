"""Numbers as the report writes them, and the figures' axes: by hand."""

from __future__ import annotations

import math

import pytest

from basewise.picture.axis import position_ticks, ticks
from basewise.picture.words import (
    counted,
    equals,
    estimate,
    gap,
    listing,
    number,
    p_value,
    percent,
    sample,
    tick,
)
from basewise.report.blocks import Table


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.7, "0.700"),
        (0.71449, "0.714"),
        (-0.0521, "−0.0521"),
        (12.345, "12.3"),
        (99.96, "100"),
        (1234.5, "1,230"),
        (0.99987, "0.9999"),
        (0.9999999, ">\N{NO-BREAK SPACE}0.9999"),
        (0.99949, "0.999"),
        (1.2e-5, "1.20 × 10⁻⁵"),
        (-3.456e9, "−3.46 × 10⁹"),
        (0.0, "0"),
        (math.nan, "–"),
        (None, "–"),
        (-math.inf, "−∞"),
    ],
)
def test_a_number_has_three_significant_digits(value: float | None, said: str) -> None:
    assert number(value) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.5, "0.5"),
        (-2.0, "−2"),
        (-0.00649, "−0.0065"),
        (99.7, "100"),
        (123.4, "123"),
        (-12345.6, "−12,346"),
        (2.3e-9, "2.3 × 10⁻⁹"),
        (-4.96e8, "−5.0 × 10⁸"),
    ],
)
def test_a_number_beside_an_axis_is_short(value: float, said: str) -> None:
    assert tick(value) == said


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (0.714, 0.69, 0.7381, "0.714 [0.690, 0.738]"),
        (0.02, -0.18, 0.22, "0.0200 [−0.180, 0.220]"),
        (-0.41, -0.61, -0.21, "−0.410 [−0.610, −0.210]"),
        (3.09, 2.7, 12.0, "3.1 [2.7, 12.0]"),
        (0.0004, -0.0101, 0.3, "4.00 × 10⁻⁴ [−0.0101, 0.300]"),
        (1.0, -0.001, 2.0, "1.00 [0.00, 2.00]"),
        (0.99961, 0.9984, 1.0, "0.9996 [0.998, 1.00]"),
        (0.997, 0.994, 1.0, "0.997 [0.994, 1.000]"),
        (0.5, math.nan, 0.6, "0.500"),
        (0.5, None, None, "0.500"),
    ],
)
def test_an_interval_stands_in_brackets_with_the_decimals_of_its_number(
    value: float, low: float | None, high: float | None, said: str
) -> None:
    assert estimate(value, low, high) == said


def test_small_words() -> None:
    space = "\N{NO-BREAK SPACE}"
    assert p_value(0.003) == f"q{space}={space}0.003"
    assert p_value(0.00099) == f"q{space}<{space}0.001"
    assert p_value(0.64, "p") == f"p{space}={space}0.64"
    assert p_value(1e-9, "") == f"<{space}0.001"
    assert p_value(math.nan) == "–"
    assert percent(0.527) == f"52.7{space}%"
    assert percent(math.nan) == "–"
    assert gap(-3e-15) == "0"
    assert gap(-2.5e-4) == "−2.50 × 10⁻⁴"
    assert equals("p", 0.25) == f"p{space}={space}0.250"
    assert equals("p", 1 - 1e-12) == f"p{space}>{space}0.9999"
    assert sample(2960, 12) == f"n{space}={space}2,960 and 12"
    assert counted(1, "class", "classes") == "1 class"
    assert counted(1072, "sequence") == "1,072 sequences"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a"]) == "a"
    assert listing([]) == ""


def test_columns_of_numbers_are_known_and_words_are_not() -> None:
    rows = [
        ("a", "0.700 [0.690, 0.710]", "3 of 4 is text", "−1.20", "", "<code>", p_value(0.0, "")),
        ("b", equals("", 1 - 1e-12).strip(), "words", "12", "", "7", "0.64"),
        ("c", "–", "words", "0", "", "7", "0.64"),
    ]
    table = Table("A row is a letter.", tuple("abcdefg"), rows)
    assert table.numeric == (False, True, False, True, False, False, True)
    assert Table("Nothing.", ("a", "b", "c"), []).numeric == (False, False, False)


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert ticks(-0.31, 0.72, 4) == pytest.approx([0, 0.5])
    assert ticks(3.0, 3.0) == [3.0]


def test_positions_count_from_the_tss_and_skip_zero() -> None:
    # 300 bases from -249 to +51, as index 0 to 299.
    found = position_ticks(0, 300, 249, 6)
    assert [label for _, label in found] == ["−200", "−150", "−100", "−50", "+1", "+50"]
    assert [index for index, _ in found] == [49, 99, 149, 199, 249, 298]
    near = position_ticks(239, 270, 249, 8)
    assert [label for _, label in near] == ["−10", "−5", "+1", "+5", "+10", "+15", "+20"]
    assert [index for index, _ in near] == [239, 244, 249, 253, 258, 263, 268]


def test_positions_count_from_one_where_there_is_no_tss() -> None:
    assert position_ticks(0, 70, None, 8) == [(0, "1")] + [
        (i - 1, str(i)) for i in range(10, 71, 10)
    ]
    assert position_ticks(1999, 2100, None, 4) == [
        (1999, "2,000"),
        (2049, "2,050"),
        (2099, "2,100"),
    ]
