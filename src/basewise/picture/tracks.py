"""A stretch of a genome as a browser shows it: numbers on bases above stretches that have names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from basewise.picture.axis import position_ticks
from basewise.picture.svg import INK, LEFT, LINE, MUTED, RIGHT, WIDTH, Floats, Stretch, page
from basewise.picture.words import number

__all__ = ["Numbers", "Stretches", "tracks"]

_COLUMNS = WIDTH - LEFT - RIGHT  # one bin a pixel
_TITLE, _HEIGHT, _BAR, _AXIS = 20, 70, 14, 34
_MEAN, _EXTREME, _BOX = "#1f62b5", "#a9c6ea", "#b5341c"
_LETTERS = 6.5  # pixels of a letter of a name


class Numbers(NamedTuple):
    """A track of numbers.

    Attributes
    ----------
    name : str
    values : (b,) float
        Of the bases drawn; NaN where there is none.
    told : str
        Beside the name.
    """

    name: str
    values: Floats
    told: str = ""


class Stretches(NamedTuple):
    """A track of stretches, (start, end, name), in the coordinates of the picture."""

    name: str
    found: Sequence[Stretch]
    told: str = ""


def tracks(start: int, end: int, lanes: Sequence[Numbers | Stretches]) -> Markup:
    """Tracks of one stretch [start, end) below each other, over one axis.

    A column of the picture that stands for several bases shows their mean (dark) and their
    largest and smallest number (light); a stretch is at least a pixel wide, so that none is lost.
    Names of stretches are written where there is room.
    """
    body, y = [], 0.0
    for lane in lanes:
        y += _TITLE
        body.append(
            f'<text x="{LEFT}" y="{y - 6:.0f}" font-weight="600">{escape(lane.name)}'
            f'<tspan font-weight="400" style="fill:{MUTED}">  {escape(lane.told)}</tspan></text>'
        )
        if isinstance(lane, Numbers):
            body.append(_numbers(lane.values, y))
            y += _HEIGHT + 8
        else:
            body.append(_stretches(lane.found, start, end, y))
            y += _BAR + 8
    body.append(_axis(start, end, y))
    return page("tracks", "", "".join(body), y + _AXIS)


def _bins(values: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Left edges in pixels of columns, and the mean, least and largest number of each."""
    b = len(values)
    first = np.unique(np.arange(_COLUMNS) * b // _COLUMNS) if b > _COLUMNS else np.arange(b)
    known = ~np.isnan(values)
    count = np.add.reduceat(known.astype(float), first)
    with np.errstate(invalid="ignore"):
        mean = np.add.reduceat(np.where(known, values, 0.0), first) / count
    least = np.minimum.reduceat(np.where(known, values, np.inf), first)
    most = np.maximum.reduceat(np.where(known, values, -np.inf), first)
    return first * _COLUMNS / b, mean, least, most


def _numbers(values: Floats, y: float) -> str:
    known = values[~np.isnan(values)]
    low, high = (min(0.0, float(known.min())), float(known.max())) if len(known) else (0.0, 1.0)
    high = high if high > low else low + 1.0
    left, mean, least, most = _bins(values)
    right = np.append(left[1:], _COLUMNS)

    def at(value: Floats) -> Floats:
        return y + _HEIGHT * (high - value) / (high - low)

    def area(top: Floats, bottom: Floats, colour: str) -> str:
        d = "".join(
            f"M{LEFT + a:.1f} {t:.1f}H{LEFT + z:.1f}V{u:.1f}H{LEFT + a:.1f}Z"
            for a, z, t, u in zip(left, right, at(top), at(bottom), strict=True)
            if np.isfinite(t) and np.isfinite(u) and abs(t - u) >= 0.05
        )
        return f'<path d="{d}" fill="{colour}"/>'

    zero = np.zeros(len(mean))
    axis = "".join(
        f'<text x="{LEFT - 8}" y="{at(np.array(value)) + 4:.1f}" text-anchor="end" '
        f'font-size="11" style="fill:{MUTED}">{number(value)}</text>'
        for value in {low, high}
    )
    ground = float(at(np.array(0.0)))
    return (
        area(np.maximum(most, 0), np.minimum(least, 0), _EXTREME)
        + area(np.maximum(mean, 0), np.minimum(mean, zero), _MEAN)
        + f'<path d="M{LEFT} {ground:.1f}h{_COLUMNS}" style="stroke:{LINE}"/>{axis}'
    )


def _stretches(found: Sequence[Stretch], start: int, end: int, y: float) -> str:
    scale = _COLUMNS / max(end - start, 1)
    boxes, names, free = [], [], float(LEFT)
    for a, b, name in sorted(found):
        if b <= start or a >= end:
            continue
        x = LEFT + (max(a, start) - start) * scale
        wide = max((min(b, end) - max(a, start)) * scale, 1.0)
        boxes.append(
            f'<rect x="{x:.1f}" y="{y:.0f}" width="{wide:.1f}" height="{_BAR}">'
            f"<title>{escape(name)} {a + 1:,} to {b:,}</title></rect>"
        )
        if name and wide >= _LETTERS * len(name) and x >= free:
            names.append(
                f'<text x="{x + wide / 2:.1f}" y="{y + 11:.0f}" text-anchor="middle" '
                f'font-size="10" style="fill:#fff;pointer-events:none">{escape(name)}</text>'
            )
            free = x + wide
    return f'<g fill="{_BOX}">{"".join(boxes)}</g>{"".join(names)}'


def _axis(start: int, end: int, y: float) -> str:
    scale = _COLUMNS / max(end - start, 1)
    marks = []
    for place, said in position_ticks(start, end, None):
        x = LEFT + (place + 0.5 - start) * scale
        marks.append(
            f'<path d="M{x:.1f} {y:.0f}v5" style="stroke:{INK}"/>'
            f'<text x="{x:.1f}" y="{y + 18:.0f}" text-anchor="middle" font-size="11" '
            f'style="fill:{MUTED}">{said}</text>'
        )
    return f'<path d="M{LEFT} {y:.0f}h{_COLUMNS}" style="stroke:{INK}"/>{"".join(marks)}'
