"""Plots of measures between 0 and 1: small multiples of curves, boxes, and a grid of numbers.

Colours are those of the page, which all kinds of colour blindness tell apart; what a colour says
is said by the shape of the mark or in numbers too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from basewise.picture.svg import LINE, MUTED, WIDTH, Floats, page
from basewise.picture.words import NONE

__all__ = ["Box", "Panel", "Series", "boxes", "grid", "multiples"]

COLOURS = (
    "var(--c0,#1f62b5)",
    "var(--c1,#c0490f)",
    "var(--c2,#00875f)",
    "var(--c3,#8a4fa3)",
)
_PER_ROW = 4  # panels side by side
_HEIGHT, _TITLE, _GAP, _EDGE = 96, 20, 22, 46
_LABELS, _AXIS = 17, 34
_BOX, _NAMES = 22, 250
_CELL_HEIGHT = 24


class Series(NamedTuple):
    """A curve over levels: its name, and (m,) values with their intervals; NaN where none."""

    name: str
    values: Floats
    low: Floats
    high: Floats


class Panel(NamedTuple):
    """One of small multiples.

    Attributes
    ----------
    title : str
    series : tuple of Series
    chance : (m,) float
        What chance alone would give at each level; NaN where that is not known.
    """

    title: str
    series: tuple[Series, ...]
    chance: Floats


class Box(NamedTuple):
    """A row of boxes: its label, a sample of values (n,), and what chance would give."""

    label: str
    values: Floats
    chance: float = float("nan")


def multiples(panels: Sequence[Panel], levels: Sequence[str], x: str, y: str) -> Markup:
    """Curves over levels, a panel each, all with the axes from 0 to 1 and the same levels.

    Parameters
    ----------
    panels : sequence of Panel
        Whose series have one name and one place in all of them.
    levels : sequence of str
        Called below the panels, evenly spaced in their order.
    x, y : str
        What varies, and what is measured.
    """
    names = list(dict.fromkeys(series.name for panel in panels for series in panel.series))
    wide = (WIDTH - _EDGE - 6) / _PER_ROW - _GAP
    body = [_legend(names, 14)]
    step = _TITLE + _HEIGHT + _LABELS + 8
    rows = -(-len(panels) // _PER_ROW)
    for i, panel in enumerate(panels):
        left = _EDGE + (i % _PER_ROW) * (wide + _GAP)
        top = 26 + (i // _PER_ROW) * step + _TITLE
        last = i + _PER_ROW >= len(panels)
        body.append(_panel(panel, levels, names, left, top, wide, last, i % _PER_ROW == 0))
    bottom = 26 + rows * step
    body.append(
        f'<text x="{WIDTH / 2}" y="{bottom + 16}" text-anchor="middle">{escape(x)}</text>'
        f'<text transform="translate(10 {26 + rows * step / 2}) rotate(-90)" '
        f'text-anchor="middle">{escape(y)}</text>'
    )
    return page("plot", "", "".join(body), bottom + 24)


def _panel(
    panel: Panel,
    levels: Sequence[str],
    names: Sequence[str],
    left: float,
    top: float,
    wide: float,
    last: bool,
    first: bool,
) -> str:
    def at(i: float, value: float) -> tuple[float, float]:
        span = max(len(levels) - 1, 1)
        place = 0.5 if len(levels) == 1 else i / span
        return left + 8 + place * (wide - 16), top + (1 - min(max(value, 0), 1)) * _HEIGHT

    out = [f'<text x="{left}" y="{top - 7}" font-weight="600">{escape(panel.title)}</text>']
    for mark in (0.0, 0.5, 1.0):
        _, level = at(0, mark)
        out.append(f'<path d="M{left} {level:.1f}h{wide:.1f}" style="stroke:{LINE}"/>')
        if first:
            out.append(
                f'<text x="{left - 5}" y="{level + 4:.1f}" text-anchor="end" font-size="11" '
                f'style="fill:{MUTED}">{mark:g}</text>'
            )
    if last:
        out += [
            f'<text x="{at(i, 0)[0]:.1f}" y="{top + _HEIGHT + 15}" text-anchor="middle" '
            f'font-size="11" style="fill:{MUTED}">{escape(level)}</text>'
            for i, level in enumerate(levels)
        ]
    out.append(_line([at(i, v) for i, v in enumerate(panel.chance)], panel.chance, MUTED, "2 3"))
    for series in panel.series:
        tone = names.index(series.name)
        colour = COLOURS[tone % len(COLOURS)]
        shift = 2.5 * (tone - (len(names) - 1) / 2)
        places = [(x + shift, y) for x, y in (at(i, v) for i, v in enumerate(series.values))]
        out.append(_line(places, series.values, colour, "5 3" if tone else ""))
        for i, (x, y) in enumerate(places):
            if not np.isfinite(series.values[i]):
                continue
            if np.isfinite(series.low[i]) and np.isfinite(series.high[i]):
                (_, low), (_, high) = at(i, series.low[i]), at(i, series.high[i])
                out.append(
                    f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" '
                    f'style="stroke:{colour};stroke-width:1.5"/>'
                )
            out.append(_mark(x, y, tone, colour))
    return "".join(out)


def _line(places: Sequence[tuple[float, float]], values: Floats, colour: str, dash: str) -> str:
    """The curve through the places whose values are numbers, broken where they are not."""
    moves, pen = [], "M"
    for (x, y), value in zip(places, values, strict=True):
        if np.isfinite(value):
            moves.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        else:
            pen = "M"
    dashed = f";stroke-dasharray:{dash}" if dash else ""
    return (
        f'<path d="{"".join(moves)}" style="fill:none;stroke:{colour};stroke-width:1.6{dashed}"/>'
    )


def _mark(x: float, y: float, tone: int, colour: str) -> str:
    """A mark of its own shape for every series."""
    if tone == 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" style="fill:{colour}"/>'
    if tone == 1:
        return (
            f'<rect x="{x - 2.8:.1f}" y="{y - 2.8:.1f}" width="5.6" height="5.6" '
            f'style="fill:#fff;stroke:{colour};stroke-width:1.4"/>'
        )
    return f'<path d="M{x:.1f} {y - 3.6:.1f}l3.4 6.2h-6.8z" style="fill:{colour}"/>'


def _legend(names: Sequence[str], y: float) -> str:
    out, x = [], float(_EDGE)
    for tone, name in enumerate(names):
        colour = COLOURS[tone % len(COLOURS)]
        out.append(
            _line([(x, y - 4), (x + 26, y - 4)], np.zeros(2), colour, "5 3" if tone else "")
            + _mark(x + 13, y - 4, tone, colour)
            + f'<text x="{x + 32}" y="{y}">{escape(name)}</text>'
        )
        x += 46 + 7 * len(name)
    out.append(
        _line([(x, y - 4), (x + 26, y - 4)], np.zeros(2), MUTED, "2 3")
        + f'<text x="{x + 32}" y="{y}">chance</text>'
    )
    return "".join(out)


def boxes(rows: Sequence[Box], x: str) -> Markup:
    """Boxes of samples of numbers from 0 to 1, below one another.

    A box spans the quartiles, the line in it is the median, whiskers reach to the last value
    within 1.5 box lengths, and values beyond are dots; the diamond is the mean. The short grey bar
    is chance.
    """
    wide = WIDTH - _NAMES - 24

    def at(value: float) -> float:
        return _NAMES + wide * float(value)

    bottom = _BOX * len(rows) + 6
    out = [
        f'<path d="M{at(mark):.1f} 2V{bottom}" style="stroke:{LINE}"/>'
        f'<text x="{at(mark):.1f}" y="{bottom + 14}" text-anchor="middle" font-size="11" '
        f'style="fill:{MUTED}">{mark:g}</text>'
        for mark in (0, 0.25, 0.5, 0.75, 1)
    ]
    for i, row in enumerate(rows):
        y = _BOX * i + _BOX / 2 + 3
        out.append(
            f'<text x="{_NAMES - 10}" y="{y + 4:.1f}" text-anchor="end">{escape(row.label)}</text>'
        )
        values = row.values[np.isfinite(row.values)]
        if np.isfinite(row.chance):
            out.append(
                f'<path d="M{at(row.chance):.1f} {y - 8}V{y + 8}" '
                f'style="stroke:{MUTED};stroke-width:2.5"/>'
            )
        if len(values):
            out.append(_box(values, y, at))
    out.append(
        f'<text x="{_NAMES + wide / 2}" y="{bottom + 31}" text-anchor="middle">{escape(x)}</text>'
    )
    return page("plot", "", "".join(out), bottom + _AXIS + 4)


def _box(values: Floats, y: float, place: Callable[[float], float]) -> str:
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    reach = 1.5 * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    out = [
        f'<path d="M{place(inside.min()):.1f} {y}H{place(low):.1f}M{place(high):.1f} {y}'
        f'H{place(inside.max()):.1f}" style="stroke:{COLOURS[0]};stroke-width:1.4"/>'
        f'<rect x="{place(low):.1f}" y="{y - 6}" width="{max(place(high) - place(low), 1):.1f}" '
        f'height="12" style="fill:{COLOURS[0]};fill-opacity:.25;stroke:{COLOURS[0]}"/>'
        f'<path d="M{place(middle):.1f} {y - 6}v12" style="stroke:{COLOURS[0]};stroke-width:2.4"/>'
    ]
    out += [
        f'<circle cx="{place(value):.1f}" cy="{y}" r="2" style="fill:none;stroke:{COLOURS[0]}"/>'
        for value in values[(values < low - reach) | (values > high + reach)]
    ]
    mean = place(values.mean())
    out.append(
        f'<path d="M{mean:.1f} {y - 4}l4 4l-4 4l-4 -4z" '
        f'style="fill:{COLOURS[1]};stroke:#fff;stroke-width:.7"/>'
    )
    return "".join(out)


def grid(rows: Sequence[str], columns: Sequence[str], values: Floats) -> Markup:
    """Numbers from 0 to 1 in cells, (rows, columns), the darker the larger; NaN are left empty."""
    wide = (WIDTH - _NAMES - 6) / max(len(columns), 1)
    size = min(12.0, 1.5 * wide / max(map(len, columns), default=1))  # so that none overlap
    top = 30
    out = [
        f'<text x="{_NAMES + (j + 0.5) * wide:.1f}" y="{top - 10}" text-anchor="middle" '
        f'font-size="{size:.1f}">{escape(column)}</text>'
        for j, column in enumerate(columns)
    ]
    for i, row in enumerate(rows):
        y = top + i * _CELL_HEIGHT
        out.append(f'<text x="{_NAMES - 10}" y="{y + 16}" text-anchor="end">{escape(row)}</text>')
        for j in range(len(columns)):
            value = float(values[i, j])
            known = np.isfinite(value)
            share = min(max(value, 0.0), 1.0) if known else 0.0
            fill = _shade(share) if known else "none"
            ink = "#fff" if known and share > 0.55 else ("#1b1f24" if known else MUTED)
            said = f"{value:.2f}" if known else NONE
            out.append(
                f'<rect x="{_NAMES + j * wide:.1f}" y="{y}" width="{wide - 2:.1f}" '
                f'height="{_CELL_HEIGHT - 2}" style="fill:{fill};stroke:{LINE}"/>'
                f'<text x="{_NAMES + (j + 0.5) * wide - 1:.1f}" y="{y + 16}" text-anchor="middle" '
                f'style="fill:{ink}">{said}</text>'
            )
    return page("plot", "", "".join(out), top + len(rows) * _CELL_HEIGHT + 4)


def _shade(share: float) -> str:
    """From nearly white to dark blue."""
    light, dark = np.array([247, 249, 252]), np.array([18, 64, 128])
    return "#" + "".join(f"{round(c):02x}" for c in light + (dark - light) * share)
