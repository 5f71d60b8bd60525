"""Sequence logos of attributions: each base as a letter as tall as its score.

Positive scores stand on the axis, negative ones hang below it, upright so that they stay
readable. Colours are told apart with any of the three kinds of colour blindness and have a
contrast of at least 3 : 1 on white; a page changes them with the CSS variables `--base-a` to
`--base-n`, `--ink`, `--muted`, `--line`, `--truth`, `--truth-ink`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

from basewise.picture.axis import position_ticks
from basewise.picture.svg import (
    INK,
    LEFT,
    LETTER,
    LINE,
    MUTED,
    RIGHT,
    WIDTH,
    Floats,
    Stretch,
    page,
    title,
    wide,
)
from basewise.picture.words import tick

__all__ = ["COLOURS", "Track", "best_window", "logo"]

COLOURS = {"A": "#00875f", "C": "#1f62b5", "G": "#c98500", "T": "#b5341c", "N": "#767676"}

_TITLE, _PANEL, _LANE, _STRIP = 30, 88, 17, 40
_BELOW = 52  # height of what is under the panels
_BESIDE, _TICK = 18, 11  # room for the title of the axis; size of its numbers
_BAR = "bar"
_TRUTH = "var(--truth,#f4d58d)"


class Track(NamedTuple):
    """One way to explain a sequence.

    Attributes
    ----------
    name : str
        What it is called.
    scores : (b,) float
        Of the bases.
    unit : str
        Of the scores.
    told : str
        What they add up to, beside the name.
    spread : (b,) float, optional
        How far each score is uncertain, to either side: drawn as a line through the end of its
        letter.
    letters : bool
        Whether the scores are those of the sequence's bases; bars are drawn otherwise.
    """

    name: str
    scores: Floats
    unit: str
    told: str = ""
    spread: Floats | None = None
    letters: bool = True


@functools.cache
def _glyphs() -> dict[str, str]:
    """Outlines of the letters as SVG paths that fill the unit square, y pointing down."""
    import matplotlib
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    font = FontProperties(
        fname=Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
    )
    commands = {1: "M", 2: "L", 3: "Q", 4: "C", 79: "Z"}  # matplotlib's codes of a path
    found = {}
    for letter in COLOURS:
        path = TextPath((0, 0), letter, size=1, prop=font)
        box = path.get_extents()
        parts = []
        for points, code in path.iter_segments(curves=True):
            at = (points.reshape(-1, 2) - (box.x0, box.y0)) / (box.width, box.height)
            xy = "" if code == 79 else " ".join(f"{x:.3g} {1 - y:.3g}" for x, y in at)
            parts.append(commands[int(code)] + xy)
        found[letter] = "".join(parts)
    return found


def best_window(tracks: Sequence[Floats], width: int) -> tuple[int, int]:
    """Where `width` bases hold the largest absolute mass, each track weighing the same."""
    length = len(tracks[0])
    if length <= width:
        return 0, length
    mass = np.cumsum([0.0, *_mass(tracks)])
    start = int(np.argmax(mass[width:] - mass[:-width]))
    return start, start + width


def _mass(tracks: Sequence[Floats]) -> Floats:
    """Mean over tracks of each track's share of absolute mass per base, (b,)."""
    size = np.abs(np.array(tracks, float))
    total = size.sum(1, keepdims=True)
    return np.asarray((size / np.where(total > 0, total, 1)).mean(0))


def logo(
    sequence: str,
    tracks: Sequence[Track],
    *,
    tss: int | None = None,
    truth: Sequence[Stretch] = (),
    hits: Sequence[Stretch] = (),
    width: int = 100,
) -> Markup:
    """One sequence, explained in one or several ways, as stacked logos over one axis.

    Parameters
    ----------
    sequence : str
        Its b letters.
    tracks : sequence of Track
        Each has its own vertical scale. A unit that all share is the title of the axis; units that
        differ stand beside the names.
    tss : int, optional
        0-based index of the +1 base; positions then count from it.
    truth, hits : sequence of (start, end, name)
        Stretches to shade and to bracket.
    width : int
        Bases drawn as letters. A longer sequence shows the window with the largest absolute
        mass (see `best_window`) under a strip of the whole.

    Returns
    -------
    Markup
        A whole `<svg>`, for a page, a notebook or a file.
    """
    every = [track.scores for track in tracks]
    start, end = best_window(every, width)
    units = {track.unit for track in tracks}
    if len(units) > 1:
        tracks = [track._replace(told=f"{track.unit}: {track.told}") for track in tracks]
    ranges = [_Range(track, start, end) for track in tracks]
    plot = _Plot(start, end, max(end - start, 30), max(LEFT, *(r.room for r in ranges)))
    y = 4.0
    back, front = [], []
    if end - start < len(sequence):
        front.append(_strip(_mass(every), plot, tss, truth, y))
        y += _STRIP + 22
    lanes = _lanes([s for s in truth if start < s[1] and s[0] < end], plot)
    marks, y = _marks(lanes, plot, y, filled=True)
    front.append(marks)
    lanes = _lanes([s for s in hits if start < s[1] and s[0] < end], plot)
    marks, y = _marks(lanes, plot, y, filled=False)
    front.append(marks)
    top = y + (16 if tss is not None and start <= tss < end else 0)
    y = top
    for track, its in zip(tracks, ranges, strict=True):
        text, lower = title(track.name, track.told, plot.left, y + 20)
        y += _TITLE + lower
        front += [text, _panel(track, its, sequence[start:end], plot, y)]
        y += _PANEL
    if len(units) == 1:
        front.append(_upright(tracks[0].unit, top, y, y + _BELOW))
    for first, last, _ in truth:
        x0, x1 = plot.edge(first), plot.edge(last)
        if x1 > x0:
            back.append(
                f'<rect x="{x0:.1f}" y="{top:.1f}" width="{x1 - x0:.1f}" height="{y - top:.1f}" '
                f'style="fill:{_TRUTH};opacity:.35"/>'
            )
    if tss is not None and start <= tss < end:
        front.append(_tss(plot.edge(tss), top, y))
    front.append(_axis(sequence, plot, tss, y + 4))
    defs = "".join(f'<path id="{c}" d="{path}"/>' for c, path in _glyphs().items())
    return page("logo", defs, "".join(back + front), y + _BELOW)


def _upright(unit: str, top: float, bottom: float, height: float) -> str:
    """The title of the axis: in the middle of the panels or, if it is longer, of the picture."""
    long = LETTER * len(unit)
    middle = (top + bottom) / 2 if long <= bottom - top else height / 2
    squeezed = (
        f' textLength="{height:.0f}" lengthAdjust="spacingAndGlyphs"' if long > height else ""
    )
    return (
        f'<text transform="translate(13 {middle:.1f}) rotate(-90)" text-anchor="middle" '
        f'style="fill:{MUTED}"{squeezed}>{escape(unit)}</text>'
    )


class _Plot:
    """Where the bases of a window lie on the page."""

    def __init__(self, start: int, end: int, across: int, left: float):
        self.start, self.end, self.left = start, end, left
        self.cell = (WIDTH - left - RIGHT) / across

    def edge(self, index: float) -> float:
        """The left edge of a base, held within the plot."""
        return self.left + (min(max(index, self.start), self.end) - self.start) * self.cell

    def middle(self, index: int) -> float:
        return self.left + (index + 0.5 - self.start) * self.cell


class _Range:
    """The scores of a track in a window, (w,), how far they reach, and the numbers that say so."""

    def __init__(self, track: Track, start: int, end: int):
        self.scores = track.scores[start:end]
        whole = np.zeros(len(track.scores)) if track.spread is None else track.spread
        self.spread = whole[start:end]
        low = min(float((self.scores - self.spread).min()), 0.0)
        self.high = max(float((self.scores + self.spread).max()), 0.0)
        if self.high == low:
            self.high = 1.0
        self.scale = (_PANEL - 8) / (self.high - low)
        far = [mark for mark in (low, self.high) if abs(mark) * self.scale >= _TICK]
        self.marks = {mark: tick(mark) for mark in [0.0, *far]}

    @property
    def room(self) -> float:
        """What the numbers and the title of the axis need, to the left of the letters."""
        return _BESIDE + 6 + max(wide(said, _TICK) for said in self.marks.values())


def _panel(track: Track, its: _Range, letters: str, plot: _Plot, top: float) -> str:
    scores, spread, scale = its.scores, its.spread, its.scale
    zero = top + its.high * scale
    left, right = plot.edge(plot.start), plot.edge(plot.end)
    out = [
        f'<text x="{left - 6:.1f}" y="{zero - mark * scale + 4:.1f}" text-anchor="end" '
        f'font-size="{_TICK}" style="fill:{MUTED}">{said}</text>'
        for mark, said in its.marks.items()
    ]
    out.append(
        f'<path d="M{left:.1f} {zero:.1f}H{right:.1f}" style="stroke:{MUTED};stroke-width:.8"/>'
    )
    drawn: dict[str, list[str]] = {}
    for i, (letter, score) in enumerate(zip(letters, scores, strict=True)):
        height = abs(float(score)) * scale
        if height >= 0.4:
            x = plot.edge(plot.start + i) + 0.04 * plot.cell
            where = zero - height if score > 0 else zero
            base = letter if letter in COLOURS else "N"
            size = f"{0.92 * plot.cell:.3g} 0 0 {height:.3g} {x:.1f} {where:.1f}"
            drawn.setdefault(base if track.letters else _BAR, []).append(
                f'<use href="#{base}" transform="matrix({size})"/>'
                if track.letters
                else f'<rect width="1" height="1" transform="matrix({size})"/>'
            )
    for base, uses in sorted(drawn.items()):
        colour = MUTED if base == _BAR else f"var(--base-{base.lower()},{COLOURS[base]})"
        out.append(f'<g style="fill:{colour}">{"".join(uses)}</g>')
    lines = "".join(
        f"M{plot.middle(plot.start + i):.1f} {zero - (score + size) * scale:.1f}"
        f"v{2 * size * scale:.1f}"
        for i, (score, size) in enumerate(zip(scores, spread, strict=True))
        if size > 0
    )
    if lines:
        out.append(f'<path d="{lines}" style="stroke:{INK};stroke-width:1;stroke-opacity:.55"/>')
    return "".join(out)


def _axis(sequence: str, plot: _Plot, tss: int | None, y: float) -> str:
    out = []
    if plot.cell >= 7:
        places = " ".join(f"{plot.middle(i):.1f}" for i in range(plot.start, plot.end))
        out.append(
            f'<text x="{places}" y="{y + 8:.1f}" text-anchor="middle" font-size="9" '
            f'font-family="ui-monospace,monospace" style="fill:{MUTED}">'
            f"{escape(sequence[plot.start : plot.end])}</text>"
        )
        y += 10
    for index, label in position_ticks(plot.start, plot.end, tss, 10):
        x = plot.middle(index)
        out.append(
            f'<path d="M{x:.1f} {y + 1:.1f}v4" style="stroke:{MUTED}"/>'
            f'<text x="{x:.1f}" y="{y + 17:.1f}" text-anchor="middle">{label}</text>'
        )
    said = "base, counted from 1" if tss is None else "position relative to the TSS"
    middle = (plot.left + plot.edge(plot.end)) / 2
    out.append(
        f'<text x="{middle:.1f}" y="{y + 33:.1f}" text-anchor="middle" '
        f'style="fill:{MUTED}">{said}</text>'
    )
    return "".join(out)


def _tss(x: float, top: float, bottom: float) -> str:
    """The bent arrow of a transcription start site, over a dashed line."""
    arrow = f"M{x:.1f} {top}v-10h13m-4 -3.5l4 3.5l-4 3.5"
    return (
        f'<path d="M{x:.1f} {top}V{bottom:.1f}" '
        f'style="stroke:{INK};stroke-dasharray:2 3;stroke-width:.9"/>'
        f'<path d="{arrow}" style="stroke:{INK};fill:none;stroke-width:1.4"/>'
        f'<text x="{x + 17:.1f}" y="{top - 6:.1f}" font-size="11">TSS</text>'
    )


def _lanes(spans: Sequence[Stretch], plot: _Plot) -> list[list[Stretch]]:
    """Spans in rows, so that neither they nor their names overlap."""
    lanes: list[list[Stretch]] = []
    ends: list[float] = []
    for span in sorted(spans):
        left, right = _extent(span, plot)
        lane = next((i for i, end in enumerate(ends) if end <= left), len(lanes))
        if lane == len(lanes):
            lanes.append([])
            ends.append(0.0)
        lanes[lane].append(span)
        ends[lane] = right + 4
    return lanes


def _extent(span: Stretch, plot: _Plot) -> tuple[float, float]:
    left, right = plot.edge(span[0]), plot.edge(span[1])
    middle, half = (left + right) / 2, 3.4 * len(span[2])
    return min(left, middle - half), max(right, middle + half)


def _marks(
    lanes: Sequence[Sequence[Stretch]], plot: _Plot, y: float, *, filled: bool
) -> tuple[str, float]:
    out = []
    for lane in lanes:
        for start, end, name in lane:
            left, right = plot.edge(start), plot.edge(end)
            if filled:
                out.append(
                    f'<rect x="{left:.1f}" y="{y + 1:.1f}" width="{right - left:.1f}" '
                    f'height="{_LANE - 3}" rx="2" style="fill:{_TRUTH}"/>'
                )
            else:
                out.append(
                    f'<path d="M{left + 0.5:.1f} {y + _LANE - 1:.1f}v-3H{right - 0.5:.1f}v3" '
                    f'style="fill:none;stroke:{MUTED}"/>'
                )
            colour = "var(--truth-ink,#1b1f24)" if filled else INK
            out.append(
                f'<text x="{(left + right) / 2:.1f}" y="{y + 12 - 2 * (not filled):.1f}" '
                f'text-anchor="middle" font-size="11" style="fill:{colour}">'
                f"{escape(name)}</text>"
            )
        y += _LANE
    return "".join(out), y


def _strip(mass: Floats, plot: _Plot, tss: int | None, truth: Sequence[Stretch], y: float) -> str:
    """The whole sequence in a strip: share of absolute mass, with the window marked."""
    length, floor = len(mass), y + _STRIP
    firsts = list(range(0, length, -(-length // 445)))
    bars = np.add.reduceat(mass, firsts)
    heights = bars * (_STRIP - 4) / max(float(bars.max()), 1e-300)

    def at(index: float) -> float:
        return plot.left + index / length * (WIDTH - plot.left - RIGHT)

    out = [
        f'<rect x="{at(first):.1f}" y="{y}" width="{at(last) - at(first):.1f}" '
        f'height="{_STRIP}" style="fill:{_TRUTH}"/>'
        for first, last, _ in truth
    ]
    d = "".join(
        f"M{at(first):.1f} {floor:.1f}v{-height:.1f}H{at(last):.1f}V{floor:.1f}"
        for first, last, height in zip(firsts, [*firsts[1:], length], heights, strict=True)
        if height >= 0.3
    )
    x0, x1 = at(plot.start), at(plot.end)
    out.append(
        f'<path d="{d}" style="fill:{MUTED}"/>'
        f'<rect x="{x0:.1f}" y="{y - 1}" width="{x1 - x0:.1f}" height="{_STRIP + 2}" '
        f'style="fill:none;stroke:{INK};stroke-width:1.3"/>'
        f'<path d="M{x0:.1f} {floor + 1}L{plot.left:.1f} {floor + 16}M{x1:.1f} {floor + 1}'
        f'L{WIDTH - RIGHT} {floor + 16}" style="stroke:{LINE};fill:none"/>'
    )
    if tss is not None:
        out.append(
            f'<path d="M{at(tss):.1f} {y}v{_STRIP}" style="stroke:{INK};stroke-dasharray:2 3"/>'
        )
    out.append(
        f'<text x="{plot.left - 6:.1f}" y="{y + _STRIP / 2:.1f}" text-anchor="end" font-size="11" '
        f'style="fill:{MUTED}">whole<tspan x="{plot.left - 6:.1f}" dy="13">{length:,} bp</tspan>'
        "</text>"
    )
    return "".join(out)
