"""Where bases are and how their places are called: indices, positions around a TSS, ticks."""

from __future__ import annotations

import math

from basewise.errors import DataError
from basewise.picture.words import MINUS

__all__ = ["index_of", "place", "position_of", "position_ticks", "ticks"]


def index_of(position: int, tss: int) -> int:
    """The 0-based index of a biological position; the inverse of `position_of`.

    Raises
    ------
    DataError
        For position 0, which does not exist.
    """
    if position == 0:
        raise DataError(
            "Position 0 does not exist: +1 is the first transcribed base, -1 the last before it."
        )
    return tss + position - (position > 0)


def position_of(index: int, tss: int) -> int:
    """The biological position of a 0-based index; the inverse of `index_of`."""
    return index - tss + (index >= tss)


def place(index: int, tss: int | None) -> str:
    """What a base is called: counted from 1, or from the TSS where there is one."""
    if tss is None:
        return f"{index + 1:,}"
    return f"{position_of(index, tss):+,}".replace("-", MINUS)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within [low, high], at most about `most` of them."""
    if not high > low:
        return [low]
    step = 10 ** math.floor(math.log10((high - low) / most))
    step *= next(m for m in (1, 2, 5, 10, 20) if (high - low) / (m * step) <= most)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def position_ticks(start: int, end: int, tss: int | None, most: int = 8) -> list[tuple[int, str]]:
    """Indices in [start, end) to label, with their labels.

    With a TSS, labels count from it (+1 is the first transcribed base, there is no 0);
    without one they count bases from 1.
    """
    if tss is None:
        step = _step((end - start) / most)
        found = [i for i in range(start, end) if (i + 1) % step == 0]
        return [(i, place(i, tss)) for i in ([start, *found] if start == 0 and step > 1 else found)]
    first, last = position_of(start, tss), position_of(end - 1, tss)
    step = _step((last - first) / most)
    marks = {m for m in range(first, last + 1) if m % step == 0 and m}
    if first <= 1 <= last:
        marks = {m for m in marks if not 0 <= m < 1 + step / 2} | {1}
    return [(i, place(i, tss)) for i in (index_of(m, tss) for m in sorted(marks))]


def _step(size: float) -> int:
    """The next larger of 1, 2, 5, 10, 20, ..."""
    power: int = 10 ** math.floor(math.log10(max(size, 1.0)))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= size)
