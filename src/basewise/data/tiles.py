"""How a sequence of any length is read in windows, each base from one where it has context."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field, model_validator

from basewise.registry import component
from basewise.types import Ints

__all__ = ["Tiles"]


@component
class Tiles:
    """Windows that overlap, each of which speaks for its middle.

    What two neighbours share is divided in its middle, so a base is at least half of the overlap
    away from the edges of the window that speaks for it (the ends of the sequence are no edges
    that could be avoided). Nothing is averaged over windows: a mean would count a base that has
    little context on one side as much as one that has it on both, and a network that looks no
    further than half of the overlap gives exactly what it would give for the whole sequence.

    Attributes
    ----------
    width : int
        Bases of a window. A shorter sequence is one window.
    overlap : int
        Bases that a window shares with the next; the last one shares more, so that it ends
        where the sequence does and all have one width.
    """

    width: Annotated[int, Field(ge=1)] = 4096
    overlap: Annotated[int, Field(ge=0)] = 512

    @model_validator(mode="after")
    def _moves_on(self) -> Tiles:
        if self.overlap >= self.width:
            raise ValueError(
                f"overlap = {self.overlap} with width = {self.width}: windows would not move on; "
                "give an overlap below the width"
            )
        return self

    def cut(self, b: int) -> Ints:
        """The windows of a sequence of so many bases.

        Returns
        -------
        (w, 4) int
            Start and end of each window, and of the bases it speaks for, 0-based half-open;
            the latter follow each other without a gap from 0 to `b`.
        """
        if b <= self.width:
            return np.array([[0, b, 0, b]] if b else np.empty((0, 4)), np.int64)
        last = b - self.width
        starts = np.append(np.arange(0, last, self.width - self.overlap), last)
        ends = starts + self.width
        between = (starts[1:] + ends[:-1]) // 2
        return np.stack([starts, ends, np.append(0, between), np.append(between, b)], axis=1)
