"""What a section of the report is made of: plain values that the page template draws.

Text is escaped by the template. A section that wants emphasis or a link gives
`Markup("<b>{}</b>").format(value)`, which escapes the value; a figure's drawing is markup made
by `draw` or `logo`, which escape what they are given.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from markupsafe import Markup

__all__ = [
    "Block",
    "Bullets",
    "Callout",
    "Details",
    "Figure",
    "Section",
    "SubHeading",
    "Table",
    "Text",
    "Tile",
    "Tiles",
    "Tone",
]

_NUMBER = re.compile(r"$|[-+−–∞\d]|[<>]\s")  # what a cell of a column of numbers begins with
Tone = Literal["good", "info", "warning", "error"]


@dataclass(frozen=True)
class Text:
    """One paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True)
class SubHeading:
    """A heading inside a section."""

    kind: ClassVar[str] = "heading"
    text: str


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    kind: ClassVar[str] = "bullets"
    items: tuple[str, ...]


@dataclass(frozen=True)
class Callout:
    """Sentences that must not be overlooked."""

    kind: ClassVar[str] = "callout"
    tone: Tone
    title: str
    items: tuple[str, ...]
    details: Details | None = None


@dataclass(frozen=True)
class Tile:
    """One number that sums something up."""

    value: str
    what: str
    note: str = ""


@dataclass(frozen=True)
class Tiles:
    """A row of numbers."""

    kind: ClassVar[str] = "tiles"
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column names the row.

    Attributes
    ----------
    caption : str
        What a row is.
    columns : tuple of str
    rows : sequence of tuples of str
    """

    kind: ClassVar[str] = "table"
    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Per column, whether it holds numbers, which are set flush right."""
        if not self.rows:
            return (False,) * len(self.columns)
        return tuple(
            i > 0 and all(_NUMBER.match(cell) for cell in column) and any(column)
            for i, column in enumerate(zip(*self.rows, strict=True))
        )


@dataclass(frozen=True)
class Figure:
    """A drawing.

    Attributes
    ----------
    title : str
        Stands above it.
    drawing : Markup
    alt : str
        What the drawing shows, in words, for those who cannot see it.
    caption : str
        What it shows and how to read it.
    least_width : int
        Pixels below which it is scrolled rather than shrunk; 0 for drawings that reflow.
    """

    kind: ClassVar[str] = "figure"
    title: str
    drawing: Markup
    alt: str
    caption: str
    least_width: int = 0


@dataclass(frozen=True)
class Details:
    """Blocks that open on a click; they are printed open."""

    kind: ClassVar[str] = "details"
    title: str
    blocks: tuple[Block, ...]


Block = Text | SubHeading | Bullets | Callout | Tiles | Table | Figure | Details


@dataclass(frozen=True)
class Section:
    """One part of the report.

    Attributes
    ----------
    title : str
    blocks : tuple of Block
        In reading order.
    """

    title: str
    blocks: tuple[Block, ...]
