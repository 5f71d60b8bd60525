"""Small vector drawings, written by hand so that they follow the page's colours and width.

`intervals` reflows: positions are percentages, so its text keeps its size on a narrow screen.
`profile` and `square` scale as pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from basewise.picture.axis import position_ticks, ticks
from basewise.picture.words import MINUS
from basewise.types import Floats

__all__ = ["Curve", "Dot", "Line", "Row", "intervals", "legend", "profile", "square"]


class Dot(NamedTuple):
    """A value with its interval.

    Attributes
    ----------
    value, low, high : float
        NaN edges draw no interval.
    tone : str
        `model`, `baseline`, `up`, `down` or `muted`: the colour.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    tone: str = "model"


class Row(NamedTuple):
    """One line of an interval plot.

    Attributes
    ----------
    label : str
    dots : tuple of Dot
        Below one another; from the second on they are drawn open.
    chance : float or None
        What chance alone would give, drawn as a small bar.
    said : str
        The numbers, as the row says them.
    """

    label: str
    dots: tuple[Dot, ...]
    chance: float | None = None
    said: str = ""


class Curve(NamedTuple):
    """A line over positions with a band: name, and (b,) mean, low, high."""

    name: str
    mean: Floats
    low: Floats
    high: Floats


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10, ... within a decade or two; powers of ten beyond, at most about four."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    step = max(-(-(last - first) // 5), 1)
    fine = (1, 2, 5) if high / low < 30 else (1,)
    powers = [p for p in range(first, last + 1) if p % step == 0]
    return [m * 10.0**p for p in powers for m in fine if low <= m * 10.0**p <= high]


def _plain(value: float) -> str:
    """A tick's label: as short as it can be."""
    return f"{value + 0:,g}".replace("-", MINUS)


def intervals(
    rows: Sequence[Row],
    axis: str = "",
    *,
    log: bool = False,
    reference: float | None = None,
    among: Sequence[Row] = (),
) -> Markup:
    """Dots with intervals, one row each, over one axis.

    Parameters
    ----------
    axis : str
        What is measured, with its unit; nothing where a heading says it.
    log : bool
        A ratio: the axis is logarithmic.
    reference : float, optional
        Where a line says "no effect".
    among : sequence of Row, optional
        The rows of all panels that shall have the same axis.
    """
    low, high = _range(among or rows, log, reference)
    marks = _log_ticks(low, high) if log else ticks(low, high)
    scale: Callable[[float], float] = math.log10 if log else float

    def at(value: float) -> str:
        share = (scale(min(max(value, low), high)) - scale(low)) / (scale(high) - scale(low))
        return f"{100 * share:.2f}%"

    def upright(kind: str, x: float, y0: object, y1: object) -> str:
        return f'<line class="{kind}" x1="{at(x)}" x2="{at(x)}" y1="{y0}" y2="{y1}"/>'

    grid = "".join(upright("grid", mark, 0, "100%") for mark in marks)
    if reference is not None:
        grid += upright("reference", reference, 0, "100%")
    lines = []
    for row in rows:
        height = 16 + 10 * len(row.dots)
        drawn = [grid]
        if row.chance is not None and math.isfinite(row.chance):
            drawn.append(upright("chance", row.chance, 4, height - 4))
        for i, dot in enumerate(row.dots):
            if not math.isfinite(dot.value):
                continue
            y, tone = 13 + 10 * i, f"{dot.tone} open" if i else dot.tone
            if math.isfinite(dot.low) and math.isfinite(dot.high):
                drawn.append(
                    f'<line class="whisker {tone}" x1="{at(dot.low)}" x2="{at(dot.high)}" '
                    f'y1="{y}" y2="{y}"/>'
                )
            if log and dot.value <= 0:
                drawn.append(f'<text class="{tone}" x="0" y="{y + 5}">◂</text>')  # off the axis
                continue
            drawn.append(f'<circle class="dot {tone}" cx="{at(dot.value)}" cy="{y}" r="4"/>')
        lines.append(
            f'<div class="row"><div class="label">{escape(row.label)}</div>'
            f'<svg class="cell" height="{height}" aria-hidden="true">{"".join(drawn)}</svg>'
            f'<div class="numbers">{escape(row.said)}</div></div>'
        )
    labels = "".join(
        f'<text x="{at(m)}" y="14" text-anchor="middle">{_plain(m)}</text>' for m in marks
    )
    lines.append(
        '<div class="row"><div class="label"></div>'
        f'<svg class="cell axis" height="{36 if axis else 20}" aria-hidden="true">{labels}'
        f'<text x="50%" y="31" text-anchor="middle">{escape(axis)}</text></svg>'
        '<div class="numbers"></div></div>'
    )
    return Markup('<div class="intervals">' + "".join(lines) + "</div>")


def _range(rows: Sequence[Row], log: bool, reference: float | None) -> tuple[float, float]:
    """The ends of the axis, a little beyond everything that is drawn."""
    values = [dot.value for row in rows for dot in row.dots]
    ends = [edge for row in rows for dot in row.dots for edge in dot[:3]]
    ends += [row.chance for row in rows if row.chance is not None]
    ends += [] if reference is None else [reference]
    values, ends = (
        [v for v in found if math.isfinite(v) and (v > 0 or not log)] for found in (values, ends)
    )
    low, high = min(ends, default=0.5), max(ends, default=1.0)
    if log:
        # One interval that runs towards zero or infinity must not squeeze all others.
        low, high = (
            max(low, min(values, default=low) / 30),
            min(high, max(values, default=high) * 30),
        )
        return low / 1.15, high * 1.15
    pad = 0.05 * (high - low) or 0.05
    return (0.0 if 0 <= low < pad else low - pad), high + pad


WIDTH, HEIGHT = 460, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 18, 12, 40  # half of the last label hangs over the end
POINTS = 400


def profile(curves: Sequence[Curve], unit: str, *, tss: int | None) -> Markup:
    """Curves over the positions of a sequence, each with its band.

    Sequences of more than 400 bases are drawn as means of equal stretches.
    """
    length = len(curves[0].mean)
    per = -(-length // POINTS)
    binned = [Curve(c.name, *(_binned(np.asarray(v), per) for v in c[1:])) for c in curves]
    edges = np.concatenate([np.concatenate([c.low, c.high, [0.0]]) for c in binned])
    low, high = float(np.nanmin(edges)), float(np.nanmax(edges))
    high = high if high > low else low + 1.0
    pad = 0.05 * (high - low)
    low, high = low - pad, high + pad
    width, height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def x(index: float) -> float:
        return _LEFT + (index + 0.5) / length * width

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * height

    out = [f'<svg class="profile" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true">']
    for mark in ticks(low, high, 4):
        kind = "zero" if abs(mark) < 1e-12 else "grid"
        out.append(
            f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
            f'y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>'
            f'<text x="{_LEFT - 6}" y="{y(mark) + 4:.1f}" text-anchor="end">{_plain(mark)}</text>'
        )
    for index, label in position_ticks(0, length, tss):
        out.append(
            f'<text x="{x(index):.1f}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="middle">'
            f"{label}</text>"
            f'<line class="tick" x1="{x(index):.1f}" x2="{x(index):.1f}" '
            f'y1="{HEIGHT - _BOTTOM}" y2="{HEIGHT - _BOTTOM + 4}"/>'
        )
    if tss is not None and 0 <= tss < length:
        out.append(
            f'<line class="tss" x1="{x(tss):.1f}" x2="{x(tss):.1f}" '
            f'y1="{_TOP}" y2="{HEIGHT - _BOTTOM}"/>'
        )
    for i, curve in enumerate(binned):
        places = [x(min((j + 0.5) * per, length) - 0.5) for j in range(len(curve.mean))]
        over = [f"{a:.1f},{y(b):.1f}" for a, b in zip(places, curve.high, strict=True)]
        under = [f"{a:.1f},{y(b):.1f}" for a, b in zip(places, curve.low, strict=True)]
        line = [f"{a:.1f},{y(b):.1f}" for a, b in zip(places, curve.mean, strict=True)]
        out.append(f'<polygon class="band c{i % 6}" points="{" ".join(over + under[::-1])}"/>')
        out.append(f'<polyline class="line c{i % 6}" points="{" ".join(line)}"/>')
    axis = "position relative to the TSS" if tss is not None else "base, counted from 1"
    out.append(
        f'<text class="title" x="{_LEFT + width / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{axis}</text>"
        f'<text class="title" transform="translate(11 {_TOP + height / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(unit)}</text></svg>'
    )
    return Markup("".join(out))


class Line(NamedTuple):
    """A line in the unit square: name, (m,) x and y, and whether its points are marked."""

    name: str
    x: Floats
    y: Floats
    marked: bool = False


SIDE = 300


def square(lines: Sequence[Line], x: str, y: str, *, diagonal: bool = False) -> Markup:
    """Lines between 0 and 1 on both axes, such as precision over recall.

    Parameters
    ----------
    x, y : str
        What the axes are.
    diagonal : bool
        Draw where both are the same.
    """
    width, height = SIDE + _LEFT + _RIGHT, SIDE + _TOP + _BOTTOM

    def at(a: float, b: float) -> tuple[str, str]:
        return f"{_LEFT + a * SIDE:.1f}", f"{_TOP + (1 - b) * SIDE:.1f}"

    out = [f'<svg class="profile" viewBox="0 0 {width} {height}" aria-hidden="true">']
    for mark in (0.0, 0.25, 0.5, 0.75, 1.0):
        (left, level), (right, _) = at(0, mark), at(1, mark)
        (over, top), (_, bottom) = at(mark, 1), at(mark, 0)
        out.append(
            f'<line class="grid" x1="{left}" x2="{right}" y1="{level}" y2="{level}"/>'
            f'<line class="grid" x1="{over}" x2="{over}" y1="{top}" y2="{bottom}"/>'
            f'<text x="{_LEFT - 6}" y="{float(level) + 4:.1f}" text-anchor="end">{mark:g}</text>'
            f'<text x="{over}" y="{float(bottom) + 16:.1f}" text-anchor="middle">{mark:g}</text>'
        )
    if diagonal:
        (left, low), (right, high) = at(0, 0), at(1, 1)
        out.append(f'<line class="tss" x1="{left}" x2="{right}" y1="{low}" y2="{high}"/>')
    for i, line in enumerate(lines):
        places = [at(a, b) for a, b in zip(line.x, line.y, strict=True)]
        if len(places) > 1:
            joined = " ".join(",".join(place) for place in places)
            out.append(f'<polyline class="line c{i % 6}" points="{joined}"/>')
        if line.marked or len(places) == 1:
            out += [
                f'<circle class="line c{i % 6}" cx="{a}" cy="{b}" r="4"><title>{escape(line.name)}'
                "</title></circle>"
                for a, b in places
            ]
    out.append(
        f'<text class="title" x="{_LEFT + SIDE / 2}" y="{height - 6}" text-anchor="middle">'
        f"{escape(x)}</text>"
        f'<text class="title" transform="translate(11 {_TOP + SIDE / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y)}</text></svg>'
    )
    return Markup("".join(out))


def legend(names: Sequence[str]) -> Markup:
    """The names of lines beside their colours, in their order."""
    keys = Markup("").join(
        Markup('<span class="key c{}">{}</span> ').format(i % 6, name)
        for i, name in enumerate(names)
    )
    return Markup('<p class="legend">{}</p>').format(keys)


def _binned(values: Floats, per: int) -> Floats:
    if per == 1:
        return values
    padded = np.pad(values, (0, -len(values) % per), constant_values=np.nan)
    return np.asarray(np.nanmean(padded.reshape(-1, per), axis=1))
