"""What all pictures of sequences share: width, colours, and ids that are their own."""

from __future__ import annotations

import hashlib
import re
import textwrap

import numpy as np
from markupsafe import Markup, escape
from numpy.typing import NDArray

__all__ = [
    "INK",
    "LEFT",
    "LETTER",
    "LINE",
    "MUTED",
    "RIGHT",
    "WIDTH",
    "Floats",
    "Stretch",
    "file_of",
    "framed",
    "page",
    "title",
    "wide",
]

Floats = NDArray[np.float64]
Stretch = tuple[int, int, str]
"""Start, end and name: 0-based, half-open."""

WIDTH = 960
LEFT, RIGHT = 64, 12
LETTER, LINE_APART = 6.8, 15  # of the words beside a name: width of a letter, height of a line
_BOLD = 7.9
INK, MUTED, LINE = "var(--ink,#1b1f24)", "var(--muted,#59636e)", "var(--line,#d0d7de)"


def page(kind: str, defs: str, body: str, height: float) -> Markup:
    """A whole `<svg>`, for a page that may set its colours.

    Ids are shared by everything on a page, so each drawing's own come from what it shows.
    """
    key = "b" + hashlib.sha256(f"{defs}{body}".encode()).hexdigest()[:8]
    inner = f"<defs>{defs}</defs>{body}"
    for mark in (' id="', ' href="#', ' fill="url(#'):
        inner = inner.replace(mark, mark + key)
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
        f'class="{kind}" font-family="system-ui,sans-serif" font-size="12" style="fill:{INK}">'
        f"{inner}</svg>"
    )


def title(name: str, told: str, left: float, y: float) -> tuple[str, float]:
    """A name and what is told beside it, in as many lines as it takes; and how much lower the
    last of them stands than the first."""
    room = round((WIDTH - RIGHT - left) / LETTER)
    taken = "-" * min(round((_BOLD * len(name) + 8) / LETTER) + 1, room)
    first, *rest = textwrap.wrap(told, room, initial_indent=taken) or [""]
    lines = f'<tspan dx="8">{escape(first[len(taken) :])}</tspan>' + "".join(
        f'<tspan x="{left:.0f}" dy="{LINE_APART}">{escape(line)}</tspan>' for line in rest
    )
    text = (
        f'<text x="{left:.0f}" y="{y:.1f}" font-weight="600">{escape(name)}'
        f'<tspan font-weight="400" style="fill:{MUTED}">{lines}</tspan></text>'
    )
    return text, float(LINE_APART * len(rest))


def wide(text: str, size: float) -> float:
    """Pixels of a number as DejaVu Sans writes it, the widest of the fonts in use."""
    return size * sum(_ADVANCE.get(letter, 0.64) for letter in text)


_ADVANCE = (
    dict.fromkeys(" ,.", 0.32) | dict.fromkeys("−×+", 0.84) | dict.fromkeys("⁰¹²³⁴⁵⁶⁷⁸⁹", 0.4)
)


def file_of(drawing: str) -> str:
    """The drawing as a file of its own: its size, a white ground, and colours of its own."""
    text = re.sub(
        r'^<svg (.*? viewBox="0 0 (\d+) (\d+)")',
        r'<svg width="\2" height="\3" \1',
        str(drawing),  # markup would escape what replaces
        count=1,
    )
    return _plain(text)


def framed(drawing: str) -> str:
    """The drawing for a notebook: as wide as there is room, on white whatever the theme."""
    return f'<div style="max-width:{WIDTH}px;background:#fff">{_plain(drawing)}</div>'


def _plain(drawing: str) -> str:
    text = str(drawing).replace("<defs>", '<rect width="100%" height="100%" fill="#fff"/><defs>', 1)
    return re.sub(r"(?<=:)var\(--[\w-]+,([^()]+)\)", r"\1", text)
