"""Heat maps of scored stretches: the letters of a sequence in boxes coloured by their score.

For tokens and windows, whose scores belong to stretches and not to bases. Colours run from blue
(lowers) over white to orange (raises), which all kinds of colour blindness tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

from basewise.picture.axis import place
from basewise.picture.logo import best_window
from basewise.picture.svg import INK, LEFT, MUTED, RIGHT, WIDTH, Floats, page, title
from basewise.picture.words import tick

__all__ = ["Panel", "colour_of", "heat_map"]

LOW, MIDDLE, HIGH = (33, 102, 172), (247, 247, 247), (217, 95, 2)
"""Colours of the lowest score, of zero and of the highest."""

LINE_LENGTH = 90  # bases in a row
_CELL, _ROW, _BOX, _TITLE, _LEGEND, _GAP = 20.0, 30, 22, 24, 44, 10


class Panel(NamedTuple):
    """One way to score stretches of a sequence.

    Attributes
    ----------
    name : str
        What it is called.
    spans : (u, 2) int
        Stretches, 0-based and half-open; where they overlap, bases are drawn one by one.
    scores : (u,) float
        Of the stretches.
    bases : (b,) float
        The same scores on bases.
    unit : str
        Of the scores.
    told : str
        What the scores add up to, beside the name.
    legend : str
        What the colours mean, where they do not tell what raises the unit.
    letters : str
        What stands in the places of the b bases, a blank for nothing; the sequence where empty.
    from_least : bool
        The scale begins at the least score, not at zero.
    """

    name: str
    spans: NDArray[np.int64]
    scores: Floats
    bases: Floats
    unit: str
    told: str = ""
    legend: str = ""
    letters: str = ""
    from_least: bool = False


def heat_map(
    sequence: str,
    panels: Sequence[Panel],
    *,
    tss: int | None = None,
    width: int = 1800,
) -> Markup:
    """One sequence, scored in one or several ways, as rows of coloured boxes.

    Parameters
    ----------
    sequence : str
        Its b letters.
    panels : sequence of Panel
        Each has its own scale, and says what it is of.
    tss : int, optional
        0-based index of the +1 base; positions then count from it.
    width : int
        Bases drawn. A longer sequence shows the window with the largest absolute mass.

    Returns
    -------
    Markup
        A whole `<svg>`, for a page, a notebook or a file.
    """
    start, end = best_window([panel.bases for panel in panels], width)
    grid = _Grid(start, end, tss)
    defs, out, y = [], [], 4.0
    for i, panel in enumerate(panels):
        spans, scores = panel.spans, panel.scores
        if (spans[1:, 0] < spans[:-1, 1]).any():
            at = np.arange(len(sequence))
            spans, scores = np.stack([at, at + 1], 1), panel.bases
        shown = f", bases {place(start, tss)} to {place(end - 1, tss)} of {len(sequence):,}"
        told = panel.told + (shown if end - start < len(sequence) else "")
        text, lower = title(panel.name, told, LEFT, y + 14)
        out.append(text)
        y += _TITLE + lower
        scale = _Scale(scores, panel.from_least)
        out += [grid.numbers(y), grid.boxes(panel.letters or sequence, spans, scores, scale, y)]
        y += grid.rows * _ROW
        bar = scale.legend(f"scale{i}", panel.legend or scale.meaning(panel.unit), y + 4)
        defs.append(bar[0])
        out.append(bar[1])
        y += _LEGEND + _GAP
    return page("heat", "".join(defs), "".join(out), y)


def colour_of(share: float) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of a score, as a share of the largest, from -1 to 1."""
    end = HIGH if share > 0 else LOW
    part = min(abs(share), 1.0)
    red, green, blue = (round(m + part * (e - m)) for m, e in zip(MIDDLE, end, strict=True))
    return red, green, blue


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _ink(colour: tuple[int, int, int]) -> str:
    """Black or white, whichever is easier to read on a colour (WCAG relative luminance)."""
    share = np.array(colour) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return "#fff" if linear @ (0.2126, 0.7152, 0.0722) < 0.179 else "#1b1f24"


class _Scale:
    """The range of scores: both sides of zero alike, or one side where only that is there, which
    may begin at the least score."""

    def __init__(self, scores: Floats, from_least: bool):
        self.least = float(scores.min()) if from_least and len(scores) else 0.0
        self.range = float(np.abs(scores - self.least).max(initial=0)) or 1.0
        self.signed = bool((scores < self.least).any())

    def share(self, score: float) -> float:
        return (score - self.least) / self.range

    def meaning(self, unit: str) -> str:
        return f"blue lowers, orange raises the {unit}" if self.signed else f"score for the {unit}"

    def legend(self, id: str, says: str, y: float) -> tuple[str, str]:
        """A gradient's definition, and the bar with its ends, zero and meaning."""
        ends = [-1.0, 0.0, 1.0] if self.signed else [0.0, 1.0]
        wide, high = 240, 10
        stops = "".join(
            f'<stop offset="{i / (len(ends) - 1):g}" stop-color="{_hex(colour_of(share))}"/>'
            for i, share in enumerate(ends)
        )
        labels = "".join(
            f'<text x="{LEFT + wide * i / (len(ends) - 1):.1f}" y="{y + 24:.1f}" '
            f'text-anchor="middle" font-size="11" style="fill:{MUTED}">'
            f"{tick(self.least + share * self.range, 3)}</text>"
            for i, share in enumerate(ends)
        )
        bar = (
            f'<rect x="{LEFT}" y="{y:.1f}" width="{wide}" height="{high}" rx="2" '
            f'fill="url(#{id})" style="stroke:{MUTED};stroke-width:.5"/>{labels}'
            f'<text x="{LEFT + wide + 22}" y="{y + 9.5:.1f}">{escape(says)}</text>'
        )
        return f'<linearGradient id="{id}">{stops}</linearGradient>', bar


class _Piece(NamedTuple):
    """What of a stretch lies in a row, and whether it goes on to the left and to the right."""

    row: int
    left: float
    right: float
    from_left: bool
    to_right: bool


def _box(piece: _Piece, y: float) -> str:
    """A box; a side where the stretch goes on has no edge."""
    left = piece.left + 0.6 * (not piece.from_left)
    right = piece.right - 0.6 * (not piece.to_right)
    top = y + piece.row * _ROW
    size = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{_BOX}"'
    if not (piece.from_left or piece.to_right):
        return f'<rect {size} rx="2"/>'
    edges = f"M{left:.1f} {top:.1f}H{right:.1f}m0 {_BOX}H{left:.1f}"
    edges += "" if piece.from_left else f"v-{_BOX}"
    edges += "" if piece.to_right else f"M{right:.1f} {top:.1f}v{_BOX}"
    return f'<rect {size} stroke="none"/><path d="{edges}" fill="none"/>'


class _Grid:
    """Where the bases of a window lie, in rows."""

    def __init__(self, start: int, end: int, tss: int | None):
        self.start, self.end, self.tss = start, end, tss
        self.across = min(max(end - start, 1), LINE_LENGTH)
        self.cell = min((WIDTH - LEFT - RIGHT) / self.across, _CELL)
        self.rows = -(-(end - start) // LINE_LENGTH)

    def numbers(self, y: float) -> str:
        """The position of the first base of each row."""
        out = []
        for row in range(self.rows):
            first = self.start + row * LINE_LENGTH
            out.append(
                f'<text x="{LEFT - 8}" y="{y + row * _ROW + 15:.1f}" text-anchor="end" '
                f'font-size="11" style="fill:{MUTED}">{place(first, self.tss)}</text>'
            )
        return "".join(out)

    def boxes(
        self,
        letters: str,
        spans: NDArray[np.int64],
        scores: Floats,
        scale: _Scale,
        y: float,
    ) -> str:
        """The boxes of all stretches, and the letters of all places, those in no box too."""
        out, ink = [], dict.fromkeys(range(self.start, self.end), INK)
        for (start, end), score in zip(spans.tolist(), scores.tolist(), strict=True):
            colour = colour_of(scale.share(score))
            ink |= dict.fromkeys(range(max(start, self.start), min(end, self.end)), _ink(colour))
            where = f"{place(start, self.tss)} to {place(end - 1, self.tss)}"
            said = f"{letters[start:end]} {where}: {tick(score, 3)}".lstrip()
            drawn = "".join(_box(piece, y) for piece in self.pieces(start, end))
            if drawn:
                out.append(
                    f'<g fill="{_hex(colour)}" stroke="#8a939c" stroke-width=".5">'
                    f"<title>{escape(said)}</title>{drawn}</g>"
                )
        return "".join(out) + self.letters(letters, ink, y)

    def pieces(self, start: int, end: int) -> list[_Piece]:
        """A stretch's part in each row it touches; open where it was cut."""
        found = []
        at, last = max(start, self.start), min(end, self.end)
        while at < last:
            row, column = divmod(at - self.start, LINE_LENGTH)
            stop = min(last, self.start + (row + 1) * LINE_LENGTH)
            left = LEFT + column * self.cell
            right = left + (stop - at) * self.cell
            found.append(_Piece(row, left, right, at > start, stop < end))
            at = stop
        return found

    def letters(self, letters: str, ink: dict[int, str], y: float) -> str:
        """The letters, each in the middle of its place, in the ink of its box."""
        out = []
        for row in range(self.rows):
            first = self.start + row * LINE_LENGTH
            row_end = min(first + LINE_LENGTH, self.end)
            some = [i for i in range(first, row_end) if letters[i] != " "]
            for colour in sorted({ink[i] for i in some}):
                at = [i for i in some if ink[i] == colour]
                places = " ".join(f"{LEFT + (i - first + 0.5) * self.cell:.1f}" for i in at)
                out.append(
                    f'<text x="{places}" y="{y + row * _ROW + 15.5:.1f}" text-anchor="middle" '
                    f'font-size="12" font-family="ui-monospace,monospace" '
                    f'style="fill:{colour};pointer-events:none">'
                    f"{escape(''.join(letters[i] for i in at))}</text>"
                )
        return "".join(out)
